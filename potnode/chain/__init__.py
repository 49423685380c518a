"""The EVM side of a node: an embedded chain, a JSON-RPC client, and what writes to and reads from
the contract.

This package knows how records reach a chain and come back; it does not know how a record is made
(that is `potnode.trainer`) nor whether a loss in it is right (that is `potnode.audit`).
"""
