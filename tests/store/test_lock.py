from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from potnode.store import DirectoryLock, StoreInUse, StoreUnavailable
from potnode.store.lock import LOCK_FILE

HOLDER = """
import sys, time
from pathlib import Path
from potnode.store import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def test_makes_a_private_directory_and_can_be_taken_again(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    with DirectoryLock(directory):
        assert directory.stat().st_mode & 0o777 == 0o700
        assert (directory / LOCK_FILE).stat().st_mode & 0o777 == 0o600
    lock = DirectoryLock(directory)
    lock.release()
    lock.release()
    DirectoryLock(directory).release()


def test_another_process_is_named_and_its_kill_frees_the_directory(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreInUse) as caught:
            DirectoryLock(tmp_path)
        assert caught.value.pid == holder.pid
        assert caught.value.directory == tmp_path
        assert str(tmp_path) in str(caught.value)
        assert f"process {holder.pid}" in str(caught.value)
        holder.send_signal(signal.SIGKILL)
    with DirectoryLock(tmp_path):
        assert int((tmp_path / LOCK_FILE).read_text()) == os.getpid()


def test_a_refused_attempt_leaves_the_holder_alone(tmp_path: Path) -> None:
    with DirectoryLock(tmp_path):
        for _ in range(3):
            with pytest.raises(StoreInUse):
                DirectoryLock(tmp_path)
        assert int((tmp_path / LOCK_FILE).read_text()) == os.getpid()


def test_a_holder_without_a_number_is_still_a_holder(tmp_path: Path) -> None:
    with DirectoryLock(tmp_path):
        (tmp_path / LOCK_FILE).write_text("not a number")
        with pytest.raises(StoreInUse, match="another process") as caught:
            DirectoryLock(tmp_path)
        assert caught.value.pid is None


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="lock file"):
        DirectoryLock(tmp_path / "file" / "data")
