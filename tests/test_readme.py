"""README.md: what it tells readers to type works on a running node."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from potnode.config import load
from tests.node.harness import DEADLINE, Digger, RunningNode, environment, get_json, potnode

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


@pytest.fixture(scope="module")
def read_node(running_node: RunningNode) -> RunningNode:
    """The node, with steps on its chain."""
    asyncio.run(Digger(running_node.stratum_port).shares(40))
    running_node.wait_until(
        lambda: running_node.get("/api/v1/jobs")["items"][0]["steps"] >= 3, "three steps"
    )
    return running_node


def commands(start: str) -> list[str]:
    lines = [line for text in blocks("console") for line in text.splitlines()]
    return [line.partition(" #")[0].strip() for line in lines if line.startswith(start)]


def test_no_snippet_escapes_these_tests() -> None:
    known = ("make ", "curl ", "potnode ")
    for text in blocks("console"):
        for line in text.splitlines():
            assert line.startswith(known), line
    assert {name for name, _ in BLOCKS} == {"console", "mermaid", "toml", "python"}
    assert len(blocks("python")) == 1


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"make ([a-z]+)", "\n".join(blocks("console"))))
    assert named
    assert named <= targets


def test_files_linked_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert "://" in target or (ROOT / target).exists(), target


@pytest.mark.parametrize("command", [c for c in commands("curl ") if "POST" not in c])
def test_curl(read_node: RunningNode, command: str) -> None:
    words = shlex.split(command.replace(":5000", f":{read_node.api_port}"))
    url = words[-1]
    document = get_json(url)
    assert "status" not in document, document
    if curl := shutil.which("curl"):
        done = subprocess.run(
            [curl, *words[1:]], capture_output=True, text=True, timeout=DEADLINE, check=True
        )
        assert done.stdout.strip()[0] == "{"
    if "proofs" in url:
        assert len(document["items"]) == 3


def test_the_search_of_the_article(running_node: RunningNode) -> None:
    [command] = [c for c in commands("curl ") if "POST" in c]
    words = shlex.split(command.replace(":5000", f":{running_node.api_port}"))
    url, body = words[words.index("POST") + 1], words[words.index("-d") + 1]
    # curl -d says that it sends a form, and so does urllib.
    with urlopen(Request(url, body.encode()), timeout=DEADLINE) as answer:  # noqa: S310
        assert answer.status == 202
        search = json.load(answer)["id"]
    seen = get_json(f"{url}/{search}")
    assert seen["request"]["seed"] == "conv1_layer"
    cancelling = Request(f"{url}/{search}", method="DELETE")  # noqa: S310
    with urlopen(cancelling, timeout=DEADLINE) as answer:  # noqa: S310
        assert answer.status in (200, 202, 204)


def test_python(read_node: RunningNode, tmp_path: Path) -> None:
    code = blocks("python")[0].replace(":5000", f":{read_node.api_port}")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    steps = int(lines[0].removeprefix("steps "))
    assert steps >= 3
    assert lines[1] == f"proofs {steps * 8}"
    assert re.fullmatch(r"state root [0-9a-f]{64}", lines[2])
    assert [line.split()[0] for line in lines[3:]] == ["0", "1", "2"]


def test_toml(tmp_path: Path) -> None:
    for text in blocks("toml"):
        file = tmp_path / "potnode.toml"
        file.write_text(text)
        settings = load(file=file, environ={}).settings.model_dump(mode="json")
        for section, values in tomllib.loads(text).items():
            for key, value in values.items():
                assert settings[section][key] == value


def test_potnode_commands(read_node: RunningNode, tmp_path: Path) -> None:
    job = read_node.get("/api/v1/jobs")["items"][0]["job"]
    model = tmp_path / "model.safetensors"
    auditing = [command for command in commands("potnode ") if "flowers" not in command]
    for command in auditing:
        line = command.replace("http://NODE:5000", f"http://127.0.0.1:{read_node.api_port}")
        line = line.replace("JOB", job).replace("model.safetensors", str(model))
        # While a node has the directory open, commands ask that node.
        env = {
            "POTNODE_DATA_DIR": str(read_node.data_dir),
            "POTNODE_API__PORT": str(read_node.api_port),
        }
        done = potnode(*shlex.split(line)[1:], env=env)
        assert done.status == 0, (line, done)
        assert job in done.out or str(model) in done.out
    assert model.exists()


def test_training_is_as_in_its_guide() -> None:
    guide = (ROOT / "docs" / "training.md").read_text("utf-8")
    for command in commands("potnode "):
        assert "flowers" not in command or f"\n{command}\n" in guide, command
