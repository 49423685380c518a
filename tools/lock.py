"""Writes constraints.txt: one exact version of everything that an installation can bring in.

Asks pip to resolve the package with all its extras for every supported Python on Linux x86-64 and
writes the union. Versions that are pinned already stay as they are; delete a line (or the file) to
let it move. Local version labels (`+cpu`) are dropped, so that a pin means the same release
wherever it is installed from.

    .venv/bin/python tools/lock.py
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
PYTHONS = ("3.11", "3.12", "3.13")

HEADER = """\
# Exact versions of everything that `pip install -c constraints.txt .[...]` can bring in, for Python
# 3.11 to 3.13. pyproject.toml has the ranges. Written by tools/lock.py.
#
# cuda-*, nvidia-* and triton come with torch's default Linux build only; its CPU build has none.
"""


def requirements() -> list[str]:
    """Everything pyproject.toml asks for: to run, for each extra, and to build."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = document["project"]
    wanted = [*project["dependencies"], *document["build-system"]["requires"]]
    for extra in project["optional-dependencies"].values():
        wanted += extra
    return sorted(wanted)


def pinned() -> list[str]:
    """The pins of the present file, without its comments; empty when there is no file."""
    if not CONSTRAINTS.exists():
        return []
    lines = CONSTRAINTS.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def resolve(python: str, wanted: list[str], pins: list[str]) -> dict[str, str]:
    """Name -> version of what pip would install for one Python; raises when nothing fits."""
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder, "constraints.txt")
        constraints.write_text("\n".join(pins))
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        command += ["--ignore-installed", "--only-binary=:all:", "--python-version", python]
        command += ["--target", str(Path(folder, "target")), "--report", str(report)]
        subprocess.run([*command, "--constraint", str(constraints), *wanted], check=True)
        installed = json.loads(report.read_text())["install"]
    packages = [item["metadata"] for item in installed]
    return {canonicalize_name(p["name"]): re.sub(r"\+.*", "", p["version"]) for p in packages}


def main() -> None:
    """Resolves, writes the file, and checks it against the ranges."""
    wanted, pins = requirements(), pinned()
    found = {python: resolve(python, wanted, pins) for python in PYTHONS}
    lines = []
    for name in sorted(set().union(*found.values())):
        versions = {python: found[python][name] for python in PYTHONS if name in found[python]}
        if len(set(versions.values())) == 1:
            lines.append(f"{name}=={next(iter(versions.values()))}")
            continue
        for python, version in versions.items():
            lines.append(f'{name}=={version} ; python_version == "{python}"')
    CONSTRAINTS.write_text(HEADER + "\n".join(lines) + "\n")
    for requirement in map(Requirement, wanted):
        for version in {found[python][canonicalize_name(requirement.name)] for python in PYTHONS}:
            if not requirement.specifier.contains(Version(version), prereleases=True):
                sys.exit(f"{requirement} does not admit the pinned {version}")
    print(f"{CONSTRAINTS.name}: {len(lines)} pins")


if __name__ == "__main__":
    main()
