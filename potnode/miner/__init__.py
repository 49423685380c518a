"""The reference CPU miner: hashes real Bitcoin headers for a potnode pool over Stratum.

For demonstrations, tests and machines without an ASIC. Like any miner that reads
docs/protocol.md, it knows whether what it hashes is its own work before it hashes it.
"""
