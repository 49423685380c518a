"""Golden data of the protocol: what the engine and the contracts must both reproduce.

`python -m potnode.spec.vectors DIR` writes the files kept in tests/vectors. Everything is computed
by the specification from constants in this package, so writing them again gives the same bytes.
Bytes are 0x-hex, integers from 2^53 on decimal strings; what contracts need is in flat arrays,
which forge's JSON cheatcodes read.
"""
