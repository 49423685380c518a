"""The HTTP side of a node: REST, read-only JSON-RPC, health and metrics."""
