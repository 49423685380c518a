"""The search that proof of training was first described with: nonces as weights, the best are kept.

Nothing of it is ever recorded (docs/protocol.md section 8, docs/literal.md).
"""
