"""What the API answers with, as pydantic models: the OpenAPI document is made of them.

Hashes are lower-case hex without 0x, share hashes in display order (digest bytes reversed, as block
hashes are shown), addresses 0x and 40 hex digits. Amounts and sums that pass 2^53 are decimal
strings.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from potnode.store.rows import ShareStatus, TxStatus

Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", examples=["5f" * 32])]
Address = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$", examples=["0x" + "a1" * 20])]
HexBytes = Annotated[str, Field(pattern=r"^([0-9a-f]{2})*$")]
Word = Annotated[
    str,
    Field(
        pattern=r"^[0-9a-f]{8}$", description="Most significant digit first, as in mining.submit."
    ),
]
Decimal = Annotated[str, Field(pattern=r"^[0-9]+$", description="A decimal integer.")]
Count = Annotated[int, Field(ge=0)]
SearchId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", examples=["5f" * 8])]
Bits = Annotated[int, Field(ge=0, le=255, description="The difficulty is 2^(bits - 32).")]
Cursor = Annotated[
    int | None, Field(ge=0, description="`cursor` of the next page; null on the last.")
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Job(_Model):
    """A job's terms, and how far the contract says it is."""

    job: Hex32
    owner: Address
    operator: Address
    dataset: str | None = Field(description="Null where the manifest breaks the protocol's rules.")
    model: str | None = Field(description="Widths of the layers.", examples=["64-32-10"])
    parameters: Count | None
    population: Count = Field(description="Candidates of a step at the job's end.")
    population_start: Count = Field(description="Candidates of step 0; in between it rises.")
    candidates_per_share: Count = Field(description="Losses of one proof.")
    batch_size: Count
    min_bits: Bits
    window: Count = Field(description="Steps a share may come late.")
    steps: Count = Field(description="Recorded steps.")
    step_limit: Count
    proofs: Count = Field(description="Recorded proofs.")
    validate_every: Count
    pot_per_step: Decimal
    operator_fee: Decimal
    token: Address = Field(description="Zero: the chain's own coin.")
    refutable: bool
    closed: bool
    state_root: Hex32 = Field(description="After the last recorded step.")
    data_root: Hex32
    manifest_hash: Hex32
    transaction: Hex32 = Field(description="Of the job's creation.")
    block: Count


class JobDetail(Job):
    """A job with its manifest."""

    manifest: str | None = Field(
        description="The exact ASCII text whose SHA-256 is manifest_hash; null if it is no ASCII."
    )


class JobPage(_Model):
    """Jobs of the contract, newest first."""

    items: list[Job]
    next: Cursor


class Validation(_Model):
    """How the model after a step does on the held-out samples."""

    loss: Count = Field(description="The recorded sum over the samples, in 1/256 bit.")
    hits: Count
    mean_loss_bits: float | None
    accuracy: float | None


class Step(_Model):
    """A step this node closed."""

    job: Hex32
    step: Count
    prev_head: Hex32
    head: Hex32
    state_root: Hex32
    proofs: Count
    validation: Validation | None = Field(description="Null except on validation steps.")
    closed_at: datetime
    status: TxStatus = Field(description="Of the transaction that records it.")
    transaction: Hex32 | None
    block: Count | None


class Candidate(_Model):
    """One of the candidates that a share's hash draws."""

    loss: Count = Field(description="The recorded sum over the step's batch, in 1/256 bit.")
    coefficient: int = Field(ge=-127, le=127, description="Its weight in the update.")


class StepEntry(_Model):
    """A proof in its step's record."""

    index: Count
    hash: Hex32
    miner: Address
    worker: str
    bits: Bits
    loss: Count = Field(description="Of its first candidate.")
    coefficient: int = Field(ge=-127, le=127, description="Of its first candidate.")
    candidates: list[Candidate]
    is_block: bool = Field(description="As in `Proof`.")


class StepDetail(Step):
    """A step with its record."""

    entries: list[StepEntry]
    step_data: HexBytes = Field(description="The record as it is on the chain.")


class StepPage(_Model):
    """Steps, newest first."""

    items: list[Step]
    next: Cursor


class Proof(_Model):
    """A share, from the moment it was acknowledged. Null is what is not known yet."""

    hash: Hex32
    job: Hex32
    status: ShareStatus
    step: Count | None = Field(description="The step that counts it.")
    index: Count | None = Field(description="Its place in that step's record.")
    loss: Count | None = Field(description="Of its first candidate, the recorded sum.")
    coefficient: int | None = Field(
        ge=-127, le=127, description="Of its first candidate, the weight in the update."
    )
    candidates: list[Candidate] | None = Field(description="All of them, in their order.")
    transaction: Hex32 | None = Field(description="The one that records the step.")
    block: Count | None
    miner: Address
    worker: str
    bits: Bits
    difficulty: float
    work_step: Count = Field(description="The step the share commits to.")
    script: HexBytes = Field(
        description="The miner's own payout script in the coinbase; empty where it has none there."
    )
    template_id: Hex32
    extranonce: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] = Field(
        description="counter | extranonce1 | extranonce2."
    )
    version: Word
    ntime: Word
    nonce: Word
    parent: Hex32 | None = Field(
        description="The block it was mined on, in display order; null for standalone work, which "
        "is on none."
    )
    is_block: bool = Field(
        description="Whether it met the parent chain's target too when it came: a block."
    )
    received_at: datetime


class Template(_Model):
    """What the shares of one block template have in common. Bytes as they stand in the header."""

    prev_hash: Hex32 = Field(description="In header order.")
    nbits: Word
    script_at: Count = Field(description="Where the payout script goes in; 0: nowhere.")
    coinbase: HexBytes = Field(description="With zeros for extranonce and marker.")
    branch: list[Hex32]


class ProofDetail(Proof):
    """A share with everything its hash can be recomputed from."""

    template: Template
    header: Annotated[str, Field(pattern=r"^[0-9a-f]{160}$")] | None = Field(
        description="The 80 bytes whose double SHA-256 is the share's hash; null where neither "
        "this node nor the chain has the step before the one it commits to."
    )


class ProofPage(_Model):
    """Proofs, newest first."""

    items: list[Proof]
    next: Cursor


class FeedbackAnswer(_Model):
    """What became of the pairs of a call."""

    accepted: Count = Field(description="Pairs of this call, all of them on disk.")
    total: Count = Field(description="Pairs the job has now.")


class FeedbackPart(_Model):
    """Pairs that were frozen together: a file of the job's data."""

    first: Count = Field(description="Its first pair; the number the file is asked for by.")
    count: Count
    data_root: Hex32 = Field(description="Of a step that uses all pairs up to its end.")
    frozen_at: datetime


class Feedback(_Model):
    """A job's feedback, and the parts of it that steps may use, newest first."""

    job: Hex32
    total: Count = Field(description="Pairs that were accepted.")
    frozen: Count = Field(description="Of these, how many are in parts.")
    data_root: Hex32 = Field(description="Of a step that uses every part; zero before the first.")
    items: list[FeedbackPart]
    next: Cursor


class Connection(_Model):
    """A miner's connection, as it is now."""

    user_agent: str
    bits: Bits | None = Field(description="Null while there is nothing to mine.")
    difficulty: float | None
    connected_at: datetime
    accepted: Count = Field(description="Submits answered true.")
    rejected: Count
    tls: bool


class Worker(_Model):
    """A worker of a miner: its connections now, and what it delivered."""

    miner: Address
    worker: str
    connections: list[Connection]
    shares: Count
    work: Decimal = Field(description="Sum of 2^bits over its shares.")
    by_status: dict[ShareStatus, Count]
    last_share_at: datetime | None


class WorkerPage(_Model):
    """Workers, most work first; those without shares last."""

    items: list[Worker]
    next: Cursor


class HostPort(_Model):
    """A TCP address."""

    host: str
    port: int = Field(ge=0, le=65535)


class Training(_Model):
    """The job in training, else the one that finished last."""

    job: Hex32
    step: Count
    step_limit: Count
    shares: Count = Field(description="Counted in a step or waiting for one.")
    waiting: Count
    expired: Count
    refused: dict[str, Count] = Field(description="Shares the pool did not take, by reason.")
    hash_rate: float = Field(description="Hashes a second of all miners, from their shares.")
    evaluations_per_s: float
    steps_per_s: float
    loss_bits: float | None = Field(description="Mean of the held-out samples.")
    accuracy: float | None
    recorder_lag: Count = Field(description="Closed steps that are not on the chain yet.")


class Work(_Model):
    """Where block templates come from. All but `source` is null without a bitcoind."""

    source: Literal["standalone", "bitcoind"]
    height: Count | None = Field(description="Of the block that is mined.")
    parent: Hex32 | None = Field(description="The block it follows, in display order.")
    updated_at: datetime | None = Field(description="When the last template came.")
    found_blocks: Count | None = Field(description="Blocks ever found, of all states.")


class FoundBlock(_Model):
    """A block of the parent chain that was found here, and what became of it."""

    hash: Hex32 = Field(description="In display order.")
    height: Count
    finder: str = Field(description="Address and worker of the miner.")
    found_at: datetime
    status: Literal["accepted", "inconclusive", "rejected", "abandoned", "pending"]
    answers: dict[str, str] = Field(
        description="What each bitcoind, by host and port, answered to submitblock."
    )
    on_disk: bool = Field(description="False: its file could not be written.")


class FoundBlockPage(_Model):
    """Found blocks, the latest first."""

    items: list[FoundBlock]
    next: Cursor


class Pool(_Model):
    """The pool as a whole. Counters begin with the node's start."""

    training: Training | None
    miners: Count = Field(description="Connected now.")
    connections: Count
    accepted: Count
    rejected: dict[str, Count] = Field(description="By Stratum error code.")
    blocks: Count = Field(description="Headers that solve a block of the network.")
    last_transaction: Hex32 | None
    stratum: HostPort | None
    work: Work
    problems: list[str] = Field(description="Why the node is not ready; empty when it is.")


class Chain(_Model):
    """The chain and contract this node records on."""

    chain_id: Count
    contract: Address = Field(description="With EIP-55 checksum.")
    operator: Address = Field(description="With EIP-55 checksum.")
    head: Count = Field(description="Number of the newest block.")
    embedded: bool = Field(description="Whether /rpc answers for the chain.")
    abi: list[dict[str, Any]]


class SearchAccepted(_Model):
    """A literal search that was taken on."""

    id: SearchId


class SearchRequest(_Model):
    """What was asked of a literal search, with what it left out."""

    seed: str
    nonce_range: list[Count] = Field(description="First nonce, and the one after the last.")
    net: str
    layer: str | None = Field(description="Null: the one called like the seed, or the first.")
    dataset: str
    rounds: Count
    narrow: Literal["layer", "range"]
    keep: Count
    batch: Count


class SearchProgress(_Model):
    """Candidates of all rounds."""

    done: Count
    total: Count


class KeptNonce(_Model):
    """A candidate, and its mean loss on the round's batch in nats."""

    nonce: Count
    loss: float


class NonceRecord(KeptNonce):
    """A candidate better than all before it in its round."""

    evaluated: Count = Field(description="Candidates so far, with it.")
    expected: float = Field(description="Records that so many candidates have on the average.")


class SearchLedger(_Model):
    """The records of a round, beside what chance gives."""

    evaluated: Count
    records: Count
    expected: float = Field(description="1 + 1/2 + ... + 1/evaluated: ln N + 0.5772.")
    items: list[NonceRecord]


class HeldOutFigures(_Model):
    """The net on the held-out samples, with the best of a round."""

    loss: float
    accuracy: float


class SearchRound(_Model):
    """One round: a layer, a range, and what was found."""

    layer: str
    nonce_range: list[Count]
    best: list[KeptNonce]
    ledger: SearchLedger
    held_out: HeldOutFigures | None = Field(description="Null until the round is over.")


class Search(_Model):
    """A literal search."""

    id: SearchId
    status: Literal["queued", "running", "finished", "cancelled", "failed"]
    created_at: datetime
    request: SearchRequest
    progress: SearchProgress
    seconds: float = Field(description="Spent searching, before restarts too.")
    hashes_per_s: float
    best: list[KeptNonce] = Field(description="Of the latest round, best first.")
    error: str | None = Field(description="Why it failed.")


class SearchDetail(Search):
    """A literal search with its rounds."""

    ledger: SearchLedger | None = Field(description="Of the latest round.")
    rounds: list[SearchRound]


class SearchPage(_Model):
    """Literal searches, newest first."""

    items: list[Search]
    next: Cursor


class Health(_Model):
    """The process is alive, or ready."""

    status: str
