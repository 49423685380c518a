"""Rows: what is stored of a share gives back the share as it was."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from potnode.rows import share_row, training_share
from potnode.spec.record import MinerRow, TemplateRow
from potnode.trainer import TrainingShare


def _bytes(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


SHARES = st.builds(
    TrainingShare,
    hash=_bytes(32),
    work_step=st.integers(0, 2**32 - 1),
    template=st.builds(
        TemplateRow,
        age=st.just(0),
        prev_hash_le=_bytes(32),
        nbits_le=_bytes(4),
        script_at=st.integers(0, 2**16 - 1),
        coinbase=st.binary(max_size=755),
        branch=st.lists(_bytes(32), max_size=16).map(tuple),
    ),
    miner=st.builds(MinerRow, _bytes(20), st.integers(0, 255), st.binary(max_size=252)),
    extranonce=_bytes(16),
    version_le=_bytes(4),
    ntime_le=_bytes(4),
    nonce_le=_bytes(4),
)


@given(SHARES, st.booleans())
def test_a_row_gives_the_share_back(share: TrainingShare, is_block: bool) -> None:
    row = share_row(share, bytes(32), worker="s9", received_at=7, is_block=is_block)
    assert training_share(row) == share
    assert (row.job_id, row.worker, row.received_at) == (bytes(32), "s9", 7)
    assert row.is_block is is_block
