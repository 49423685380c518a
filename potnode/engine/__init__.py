"""The rules of `potnode.spec` at speed: batched candidates, bit-equal to the specification.

`Engine` is the door. Everything here is a faster way to a number the specification defines; where
the two differ, the specification is right.
"""
