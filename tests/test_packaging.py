"""What an installation gets: the wheel's content, the pinned versions, the shipped contract."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import potnode

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("potnode", "stratum")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The finished process; its output is in the message when a test looks at it and fails."""
    environment = {**os.environ, **variables}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


# The wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = run(*build, str(ROOT))
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = folder.iterdir()
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_every_file_of_both_packages_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    shipped = {name for name in names if name.partition("/")[0] in PACKAGES}
    sources = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert shipped == sources
    assert {name.partition("/")[0] for name in names} == {
        *PACKAGES,
        f"potnode-{potnode.__version__}.dist-info",
    }


@pytest.mark.parametrize(
    "pattern",
    [
        r"potnode/chain/abi/Pot\.json",
        r"potnode/data/digits\.potdata",
        r"potnode/store/migrations/env\.py",
        r"potnode/store/migrations/versions/\w+\.py",
        r"potnode/py\.typed",
        r"stratum/py\.typed",
        r"potnode-[^/]+\.dist-info/licenses/LICENSE",
    ],
)
def test_what_is_read_at_run_time_is_in_the_wheel(wheel: zipfile.ZipFile, pattern: str) -> None:
    assert [name for name in wheel.namelist() if re.fullmatch(pattern, name)]


def test_the_wheel_says_what_the_source_says(wheel: zipfile.ZipFile) -> None:
    folder = f"potnode-{potnode.__version__}.dist-info"
    message = Parser().parsestr(wheel.read(f"{folder}/METADATA").decode())
    assert message["Version"] == potnode.__version__
    assert message["Requires-Python"] == ">=3.11"
    assert message["License-Expression"] == "MIT"
    extras = {"bench", "dev", "fleet", "postgres", "ray", "redis", "sklearn"}
    assert set(message.get_all("Provides-Extra", [])) == extras
    scripts = wheel.read(f"{folder}/entry_points.txt").decode()
    assert "potnode = potnode.cli:main" in scripts


# Pinned versions


def requirements() -> list[Requirement]:
    project = PROJECT["project"]
    lines = [*project["dependencies"], *PROJECT["build-system"]["requires"]]
    for extra in project["optional-dependencies"].values():
        lines += extra
    return [Requirement(line) for line in lines]


def pins() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def pinned_versions() -> dict[str, list[str]]:
    versions: dict[str, list[str]] = {}
    for pin in pins():
        [specifier] = pin.specifier
        versions.setdefault(canonicalize_name(pin.name), []).append(specifier.version)
    return versions


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_the_project_gives_ranges_and_the_constraints_versions_in_them(
    requirement: Requirement,
) -> None:
    assert requirement.specifier
    assert not [part for part in requirement.specifier if part.operator in {"==", "==="}]
    for version in pinned_versions()[canonicalize_name(requirement.name)]:
        assert requirement.specifier.contains(Version(version), prereleases=True)


def test_a_pin_is_one_plain_public_version() -> None:
    markers: dict[str, list[object]] = {}
    for pin in pins():
        [specifier] = pin.specifier
        assert specifier.operator == "==", pin
        assert Version(specifier.version).local is None, pin
        assert pin.url is None, pin
        assert not pin.extras, pin
        markers.setdefault(canonicalize_name(pin.name), []).append(pin.marker)
    assert list(markers) == sorted(markers)
    for name, conditions in markers.items():
        assert len(conditions) == 1 or None not in conditions, name


def test_everything_that_an_installation_brings_along_is_pinned() -> None:
    versions = pinned_versions()
    waiting = [*requirements()]
    seen: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in seen or (requirement.marker is not None and not requirement.marker.evaluate()):
            continue
        seen.add(name)
        assert name in versions, f"{name} is not in constraints.txt: run tools/lock.py"
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # of an extra that is not installed here
        assert Version(distribution.version).public in versions[name], name
        for line in distribution.requires or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                needed.marker = None
                waiting.append(needed)
    assert {"fastapi", "torch", "web3", "pytest"} <= seen


def test_no_dependency_is_tied_to_an_address() -> None:
    for name in ("constraints.txt", "pyproject.toml", "contracts/package-lock.json"):
        text = (ROOT / name).read_text()
        assert "://" not in text, name
        assert "--" not in re.sub(r"--(\w|-)*(strict|import-mode)", "", text), name


def test_the_compiler_and_the_tools_of_the_contracts_are_locked() -> None:
    wanted = json.loads((ROOT / "contracts/package.json").read_text())
    lock = json.loads((ROOT / "contracts/package-lock.json").read_text())["packages"]
    for name, version in {**wanted["dependencies"], **wanted["devDependencies"]}.items():
        locked = lock[f"node_modules/{name}"]
        assert locked["version"] == version
        assert locked["integrity"].startswith("sha512-")
    for path, package in lock.items():
        assert "resolved" not in package, path
        assert "integrity" in package or package.get("optional") or not path, path


# The first command of a newcomer


def test_without_a_python_the_makefile_says_what_is_missing(tmp_path: Path) -> None:
    done = run("tools/venv.sh", str(tmp_path / "venv"), PYTHON="no-such-python")
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed; looked for: no-such-python" in done.stderr


def test_an_old_python_is_not_taken(tmp_path: Path) -> None:
    old = tmp_path / "python3.10"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = run("tools/venv.sh", str(tmp_path / "venv"), PYTHON=str(old))
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_a_python_without_venv_is_named_with_the_remedy(tmp_path: Path) -> None:
    bare = tmp_path / "python3.11"
    bare.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\n')
    bare.chmod(0o755)
    done = run("tools/venv.sh", str(tmp_path / "venv"), PYTHON=str(bare))
    assert done.returncode == 1
    assert "without the modules venv and ensurepip" in done.stderr
    assert "python3-venv" in done.stderr


def test_the_first_python_that_will_do_makes_the_environment(tmp_path: Path) -> None:
    good = tmp_path / "python3.12"
    good.write_text('#!/bin/sh\nif [ "$1 $2" = "-m venv" ]; then mkdir "$3"; fi\n')
    good.chmod(0o755)
    target = tmp_path / "venv"
    done = run("tools/venv.sh", str(target), PYTHON=f"no-such-python {good}")
    assert done.returncode == 0, done.stderr
    assert target.is_dir()


def test_an_environment_that_could_not_be_made_leaves_nothing(tmp_path: Path) -> None:
    bad = tmp_path / "python3.12"
    bad.write_text('#!/bin/sh\nif [ "$1 $2" = "-m venv" ]; then mkdir "$3"; exit 1; fi\n')
    bad.chmod(0o755)
    done = run("tools/venv.sh", str(tmp_path / "venv"), PYTHON=str(bad))
    assert done.returncode == 1
    assert "could not make the virtual environment" in done.stderr
    assert not (tmp_path / "venv").exists()
