"""The protocol as an executable specification: plain integers and bytes, no numpy, no I/O.

Slow, obvious, and the truth: the engine (`potnode.engine`) and the contracts (`contracts/`) are
tested for equality against it. One module per rule family; `docs/protocol.md` is the same text in
prose.
"""
