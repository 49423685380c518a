"""potnode: proof of training on SHA-256 ASICs.

The package that runs a node. `potnode.spec` holds the rules every node, auditor and contract agree
on; everything else is an implementation of them or an edge to the outside world.
"""

__version__ = "0.1.0"
