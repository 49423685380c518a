"""The commands as programs and people meet them: output, JSON, help, refusals on one line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from potnode import __version__
from potnode.chain.errors import HeadConflict
from potnode.cli.app import app
from potnode.config import known_settings
from potnode.node import Node
from tests.node.harness import Done, potnode, write_job_file


def commands(command: Any, name: str = "potnode") -> Iterator[tuple[str, Any]]:
    """Every command with its full name."""
    yield name, command
    for inner, found in getattr(command, "commands", {}).items():
        yield from commands(found, f"{name} {inner}")


ALL = dict(commands(typer.main.get_command(app)))


def refused(done: Done) -> str:
    """The one line a command failed with."""
    assert (done.status, done.out) == (1, ""), done
    assert done.err.count("\n") == 1, done.err
    assert done.err.startswith("potnode: ")
    return done.err.removeprefix("potnode: ").strip()


def test_the_commands_are_those_users_rely_on() -> None:
    assert set(ALL) >= {
        f"potnode {name}"
        for name in (
            "demo",
            "run",
            "mine",
            "job create",
            "job list",
            "job show",
            "audit",
            "model export",
            "dataset list",
            "dataset show",
            "dataset freeze",
            "bench",
            "keys new",
            "keys show",
            "db upgrade",
            "config show",
            "version",
        )
    }


@pytest.mark.parametrize("name", ALL)
def test_every_command_explains_itself(name: str) -> None:
    done = potnode(*name.split()[1:], "--help")
    assert done.status == 0, done.err
    assert "--help" in done.out
    assert (ALL[name].help or "").split(".")[0][:20] in done.out


def test_reading_commands_take_json() -> None:
    reading = ("job list", "job show", "audit", "keys show", "config show", "version", "demo")
    for name in (*reading, "dataset list", "dataset show", "dataset freeze"):
        assert "--json" in {o for p in ALL[f"potnode {name}"].params for o in p.opts}, name


def test_version() -> None:
    assert potnode("version") == Done(0, __version__ + "\n", "")
    assert json.loads(potnode("version", "--json").out) == {"version": __version__}


def test_config_show_says_where_each_value_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "potnode.toml"
    file.write_text("[stratum]\nport = 4444\n[keys]\npassword = 'hunter2'\n")
    env = {
        "POTNODE_API__PORT": "5555",
        "POTNODE_STORE__URL": "postgresql+psycopg://me:hunter2@db/potnode",
        "POTNODE_CHAIN__URL": "https://chain.example:8545/v3/hunter2?key=hunter2",
    }
    arguments = ("config", "show", "--config", file, "--data-dir", tmp_path)
    done = potnode(*arguments, "--json", env=env)
    shown = json.loads(done.out)
    assert list(shown) == list(known_settings())
    assert shown["stratum.port"] == {"value": 4444, "source": str(file)}
    assert shown["api.port"] == {"value": 5555, "source": "POTNODE_API__PORT"}
    assert shown["data_dir"] == {"value": str(tmp_path), "source": "command line"}
    assert shown["stratum.host"] == {"value": "127.0.0.1", "source": "default"}
    assert shown["store.url"]["value"] == "postgresql+psycopg://me:***@db/potnode"
    assert shown["chain.url"]["value"] == "https://chain.example:8545/***"
    text = potnode(*arguments, env=env).out
    assert len(text.splitlines()) == len(shown)
    assert f"stratum.port = 4444 # {file}" in " ".join(text.split())
    assert "hunter2" not in done.out + text


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[stratum]\nprot = 1\n", "unknown setting stratum.prot; did you mean stratum.port?"),
        ("[stratum]\nport = 'many'\n", "stratum.port"),
        ("stratum\n", "is not TOML"),
    ],
)
def test_a_configuration_that_is_wrong(tmp_path: Path, toml: str, message: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(toml)
    for command in ("run", "demo", "config show", "job list"):
        assert message in refused(potnode(*command.split(), "--config", file))


def test_keys(tmp_path: Path) -> None:
    assert "potnode keys new" in refused(potnode("keys", "show", "--data-dir", tmp_path))
    made = potnode("keys", "new", "--data-dir", tmp_path, "--json")
    address = json.loads(made.out)["address"]
    assert len(address) == 42
    assert potnode("keys", "new", "--data-dir", tmp_path).out == address + "\n", "made once"
    assert potnode("keys", "show", "--data-dir", tmp_path).out == address + "\n"
    for file in (tmp_path / "keys").iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file
        assert address[2:].lower() in file.read_text().lower() or "password" in file.name


def test_a_key_with_a_password_of_its_own(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("correct horse\nsecond line\n")
    env = {"POTNODE_KEYS__PASSWORD_FILE": str(secret)}
    address = potnode("keys", "new", "--data-dir", tmp_path, env=env).out
    same = {"POTNODE_KEYS__PASSWORD": "correct horse"}
    assert potnode("keys", "show", "--data-dir", tmp_path, env=same).out == address
    for wrong in (
        {"POTNODE_KEYS__PASSWORD": "battery"},
        {"POTNODE_KEYS__PASSWORD_FILE": str(tmp_path / "absent")},
        {},
    ):
        said = refused(potnode("keys", "show", "--data-dir", tmp_path, env=wrong))
        assert "password" in said
        assert "battery" not in said
        assert "horse" not in said


def test_db_upgrade(tmp_path: Path) -> None:
    for _ in range(2):
        assert potnode("db", "upgrade", "--data-dir", tmp_path).status == 0
    assert (tmp_path / "node.sqlite").exists()
    broken = {"POTNODE_STORE__URL": "sqlite://"}
    assert "must name a file" in refused(potnode("db", "upgrade", env=broken))


def test_jobs_from_file_to_list(tmp_path: Path) -> None:
    assert "run `potnode run` first" in refused(potnode("job", "list", "--data-dir", tmp_path))
    data_dir = tmp_path / "node"
    file = write_job_file(tmp_path, steps=7, min_bits=9)
    made = potnode("job", "create", file, "--data-dir", data_dir, "--json")
    identity = json.loads(made.out)["job"]
    other = potnode("job", "create", file, "--data-dir", data_dir).out.strip()
    assert len(identity) == len(other) == 64
    assert identity != other, "two jobs of one file are two jobs"
    listed = json.loads(potnode("job", "list", "--data-dir", data_dir, "--json").out)
    assert [row["job"] for row in listed["items"]] == [identity, other]
    assert listed["next"] is None
    text = potnode("job", "list", "--data-dir", data_dir).out.splitlines()
    assert text[0] == f"{identity}  digits  0/7 steps"
    shown = json.loads(potnode("job", "show", identity, "--data-dir", data_dir, "--json").out)
    assert shown == listed["items"][0]
    assert (shown["steps"], shown["step_limit"], shown["min_bits"]) == (0, 7, 9)
    assert shown["model"] == "64-8-10"
    assert shown["owner"] == shown["operator"]
    lines = potnode("job", "show", "0x" + identity, "--data-dir", data_dir).out.splitlines()
    assert dict(line.split(maxsplit=1) for line in lines)["job"] == identity
    unknown = refused(potnode("job", "show", "ab" * 32, "--data-dir", data_dir))
    assert "ab" * 32 in unknown
    for command in ("show", "audit"):
        words = ["job", command] if command == "show" else [command]
        assert "64 hex digits" in refused(potnode(*words, "xyz", "--data-dir", data_dir))
    model = tmp_path / "model.safetensors"
    nowhere = potnode("model", "export", identity, data_dir / "no" / "m", "--data-dir", data_dir)
    assert nowhere.status == 1
    assert "there is no such folder to write to" in nowhere.err
    assert "rebuild" not in nowhere.err  # it is said before the work

    empty = potnode("model", "export", identity, model, "--data-dir", data_dir)
    assert empty.status == 0, "a job without steps has its initial model"
    assert model.exists()
    assert json.loads(potnode("audit", identity, "--data-dir", data_dir, "--json").out)["passed"]


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("datset = 'digits'\n", "unknown key datset; did you mean dataset?"),
        ("dataset = 'digits'\n[search]\npopulace = 8\n", "did you mean search.population?"),
        ("dataset = 'digits'\n[search]\npopulation = '8'\n", "search.population"),
        ("dataset = 'digits'\n[search]\npopulation = 5000\n", "population"),
        ("dataset = 'digits'\n[model]\nhidden = [2000]\noutput_shift = 0\n", "2^23"),
        ("dataset = 'digit'\n", "did you mean 'digits'?"),
        ("dataset\n", "is not TOML"),
    ],
)
def test_a_job_file_that_is_wrong(tmp_path: Path, toml: str, message: str) -> None:
    file = tmp_path / "job.toml"
    file.write_text(toml)
    data_dir = tmp_path / "node"
    assert message in refused(potnode("job", "create", file, "--data-dir", data_dir))
    if (data_dir / "chain.sqlite").exists():  # some rules are looked at late: no job came of it
        listed = potnode("job", "list", "--data-dir", data_dir, "--json")
        assert json.loads(listed.out)["items"] == []


def test_a_job_file_that_is_absent(tmp_path: Path) -> None:
    said = refused(potnode("job", "create", tmp_path / "no.toml", "--data-dir", tmp_path))
    assert "no.toml: cannot be read" in said


def test_commands_on_a_chain_that_is_not_there(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/secret"
    for command in (["job", "list"], ["audit", "ab" * 32]):
        said = refused(potnode(*command, "--rpc", url, "--data-dir", tmp_path))
        assert "did not answer" in said
        assert "secret" not in said
    said = refused(potnode("job", "list", "--rpc", url, "--contract", "0x12"))
    assert "did not answer" in said or "40 hex digits" in said


def test_mine_refuses_what_cannot_be_mined() -> None:
    assert "40 hex digits" in refused(potnode("mine", "127.0.0.1:1", "--user", "me"))
    assert "stratum+tcp" in refused(potnode("mine", "http://pool", "--user", "0x" + "11" * 20))


def test_a_part_of_the_node_that_fails_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(self: Node, parts: object) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(60))
            raise HeadConflict("somebody else records this job")

    monkeypatch.setattr(Node, "_serve", fails)
    quiet = ("--stratum-port", "0", "--api-port", "0", "--log-level", "warning")
    done = potnode("run", "--data-dir", tmp_path, *quiet)
    assert refused(done) == "somebody else records this job"
