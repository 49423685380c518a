"""Settlement: paying recorded steps out of a job's escrow, and taking out what one is owed.

The contract does the sums; it wants every step's record again, which only the events keep. Nothing
settles by itself: it costs gas that only those who are paid should decide to spend.
"""

from __future__ import annotations

from potnode.chain.contract import encode_call
from potnode.chain.reader import credits_of, read_job, read_steps, step_info
from potnode.chain.rpc import RpcLedger
from potnode.chain.sender import Sender


def settle(ledger: RpcLedger, sender: Sender, job_id: bytes) -> tuple[list[int], list[int]]:
    """Settle every step of a job that can be; the steps settled, and those it is too early for.

    Raises ChainError: JobUnknown, RecordRefused, ChainUnavailable; what was settled stays so.
    """
    job = read_job(ledger, job_id)
    now = ledger.chain.block_timestamp()
    settled: list[int] = []
    early: list[int] = []
    for step in list(read_steps(ledger, job)):
        info = step_info(ledger, job_id, step.step)
        if info.settled:
            continue
        if now < info.recorded_at + job.params.challenge_window:
            early.append(step.step)
            continue
        sender.execute(
            f"the settlement of step {step.step}",
            ledger.contract,
            encode_call("settle", step.step_data),
        )
        settled.append(step.step)
    return settled, early


def withdraw(ledger: RpcLedger, sender: Sender, token: bytes, to: bytes) -> int:
    """Send the whole credit of the sender's account in `token` (20 zero bytes: the coin) to `to`.

    Returns:
        The amount, 0 where there was none and nothing was sent.
    """
    amount = credits_of(ledger, token, sender.address)
    if amount:
        sender.execute("a withdrawal", ledger.contract, encode_call("withdraw", token, to))
    return amount
