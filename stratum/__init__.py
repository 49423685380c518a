"""Stratum V1 for SHA-256 mining: a pool's side and a miner's, without I/O and on asyncio.

Knows mining and nothing of what shares are for. The protocol lives in `session` (pool) and
`client` (miner), both free of sockets and clocks; `server` and the driver in `client` put them on
the network. Where shares go and jobs come from is said by the `Pool` port in `pool`.
"""

from stratum.client import ClientJob, ClientSession, StratumClient
from stratum.counters import ConnectionStats, Counters, LatencyHistogram
from stratum.difficulty import (
    DIFFICULTY_1_TARGET,
    bits_from_difficulty,
    difficulty_from_bits,
    difficulty_from_target,
    hash_difficulty,
    target_from_bits,
    target_from_difficulty,
)
from stratum.errors import (
    InvalidJobError,
    LocalProtocolError,
    ProtocolError,
    Reject,
    RejectCode,
    RemoteProtocolError,
    StratumError,
    Unauthorized,
)
from stratum.jobs import VERSION_MASK, Job, JobBook, JobIds
from stratum.limits import UNLIMITED, Limits
from stratum.listener import Listener, raise_file_limit
from stratum.pool import Answer, MinerView, Pool
from stratum.server import StratumServer
from stratum.session import Resumable, Session
from stratum.shares import SeenHashes, Share

__all__ = [
    "DIFFICULTY_1_TARGET",
    "UNLIMITED",
    "VERSION_MASK",
    "Answer",
    "ClientJob",
    "ClientSession",
    "ConnectionStats",
    "Counters",
    "InvalidJobError",
    "Job",
    "JobBook",
    "JobIds",
    "LatencyHistogram",
    "Limits",
    "Listener",
    "LocalProtocolError",
    "MinerView",
    "Pool",
    "ProtocolError",
    "Reject",
    "RejectCode",
    "RemoteProtocolError",
    "Resumable",
    "SeenHashes",
    "Session",
    "Share",
    "StratumClient",
    "StratumError",
    "StratumServer",
    "Unauthorized",
    "bits_from_difficulty",
    "difficulty_from_bits",
    "difficulty_from_target",
    "hash_difficulty",
    "raise_file_limit",
    "target_from_bits",
    "target_from_difficulty",
]
