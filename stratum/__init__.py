"""Stratum V1 for SHA-256 mining: a pool's side and a miner's, without I/O and on asyncio.

Knows mining and nothing of what shares are for. The protocol lives in `session` (pool) and
`client` (miner), both free of sockets and clocks; `server` and the driver in `client` put them on
the network. Where shares go and jobs come from is said by the `Pool` port in `server`.
"""

from stratum.client import ClientJob, ClientSession, StratumClient
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
from stratum.server import Answer, Counters, MinerView, Pool, StratumServer
from stratum.session import Session
from stratum.shares import SeenHashes, Share

__all__ = [
    "DIFFICULTY_1_TARGET",
    "VERSION_MASK",
    "Answer",
    "ClientJob",
    "ClientSession",
    "Counters",
    "InvalidJobError",
    "Job",
    "JobBook",
    "JobIds",
    "LocalProtocolError",
    "MinerView",
    "Pool",
    "ProtocolError",
    "Reject",
    "RejectCode",
    "RemoteProtocolError",
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
    "target_from_bits",
    "target_from_difficulty",
]
