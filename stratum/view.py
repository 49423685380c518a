"""What a pool is shown of a connection, taken from its session, and how logs name it."""

from __future__ import annotations

from stratum.pool import MinerView
from stratum.session import Session


def view_of(session: Session, connection_id: int, peer: str, last: MinerView | None) -> MinerView:
    """Return the miner as it is now: `last`, the view before, while nothing has changed."""
    if (
        last is None
        or last.account != (session.account or "")
        or last.suggested_difficulty != session.suggested_difficulty
        or last.fixed_difficulty != session.fixed_difficulty
        or last.minimum_difficulty != session.minimum_difficulty
        or last.version_mask != session.version_mask
        or last.user_agent != session.user_agent
        or last.extranonce1 != session.extranonce1
    ):
        return MinerView(
            connection_id=connection_id,
            account=session.account or "",
            worker=session.worker,
            user_agent=session.user_agent,
            suggested_difficulty=session.suggested_difficulty,
            fixed_difficulty=session.fixed_difficulty,
            minimum_difficulty=session.minimum_difficulty,
            version_mask=session.version_mask,
            extranonce1=session.extranonce1,
            peer=peer,
        )
    return last


def named(miner: MinerView) -> str:
    """Return a miner as logs show it: user name and, in brackets, user agent."""
    user = f"{miner.account}.{miner.worker}" if miner.worker else miner.account
    return f"{user} ({miner.user_agent or 'no user agent'})"
