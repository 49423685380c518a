"""What the API needs of a node. Tests supply their own; `potnode.node.Node` is the real one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from potnode.api.writing import WriteRules
from potnode.bitcoin import ParentChain
from potnode.campaign import Progress
from potnode.chain.facade import Facade
from potnode.chain.rpc import RpcLedger
from potnode.literal.searches import Searches
from potnode.store.store import Store
from stratum.counters import ConnectionStats
from stratum.server import Counters, MinerView


class NodeView(Protocol):
    """A running node, to be looked at. Everything is cheap and safe on the event loop, except what
    `store`, `ledger` and `facade` do: call those in a thread."""

    @property
    def store(self) -> Store:
        """Where shares and steps are."""
        ...

    @property
    def ledger(self) -> RpcLedger:
        """Where records are."""
        ...

    @property
    def facade(self) -> Facade | None:
        """Read-only JSON-RPC of the embedded chain; None where the chain is someone else's."""
        ...

    @property
    def operator(self) -> bytes:
        """The operator's 20-byte address."""
        ...

    @property
    def searches(self) -> Searches:
        """Literal searches."""
        ...

    @property
    def write_rules(self) -> WriteRules:
        """Who may write."""
        ...

    @property
    def stratum_address(self) -> tuple[str, int] | None:
        """Host (as configured) and port miners connect to; None while nobody listens."""
        ...

    def progress(self) -> Progress | None:
        """Of the job in training, else of the one that finished last."""
        ...

    def miners(self) -> Sequence[MinerView]:
        """Connected miners."""
        ...

    def miner_bits(self, connection_id: int) -> int | None:
        """Agreed bits of a connection, None while no job is served."""
        ...

    def connection_stats(self) -> Mapping[int, ConnectionStats]:
        """Each connected miner's own numbers, by connection id."""
        ...

    def counters(self) -> Counters:
        """What the Stratum server counted since it started."""
        ...

    def last_transaction(self) -> bytes | None:
        """Hash of the last record that came into a block since the node started."""
        ...

    def parent(self) -> ParentChain | None:
        """The bitcoinds and blocks of a node whose templates are real."""
        ...

    def problems(self) -> Sequence[str]:
        """Why the node is not ready for miners; empty when it is."""
        ...
