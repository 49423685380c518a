"""What can be said of the container image and the compose file without a container engine."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from potnode import config

ROOT = Path(__file__).resolve().parent.parent
HEALTH = "http://127.0.0.1:5000/healthz"


def instructions() -> list[tuple[str, str]]:
    """(keyword, rest) of every instruction of the Dockerfile, continued lines joined."""
    text = (ROOT / "docker/Dockerfile").read_text()
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [
        (keyword.upper(), rest.strip()) for keyword, _, rest in (x.partition(" ") for x in lines)
    ]


def stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage by its name, in the file's order."""
    found: dict[str, list[tuple[str, str]]] = {}
    for keyword, rest in instructions():
        if keyword == "FROM":
            image, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()  # type: ignore[union-attr]
            assert image == "python:3.13-slim"
            found[name] = []
        else:
            list(found.values())[-1].append((keyword, rest))
    return found


def of(stage: str, keyword: str) -> list[str]:
    return [rest for word, rest in stages()[stage] if word == keyword]


def variables() -> dict[str, str]:
    """The environment that the image sets."""
    pairs = [pair for rest in of("runtime", "ENV") for pair in shlex.split(rest)]
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    document = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())
    services: dict[str, Any] = document["services"]
    return services


def test_the_image_is_built_in_two_stages_with_the_pinned_versions() -> None:
    assert list(stages()) == ["build", "runtime"]
    [build] = [rest for rest in of("build", "RUN") if "pip install" in rest]
    assert "--constraint constraints.txt" in build
    assert not [rest for rest in of("runtime", "RUN") if "pip" in rest]


def test_everything_copied_exists_and_is_let_through() -> None:
    ignore = (ROOT / "docker/Dockerfile.dockerignore").read_text().splitlines()
    copied = []
    for rest in of("build", "COPY"):
        *sources, _target = rest.split()
        copied += sources
    assert {"potnode", "stratum", "pyproject.toml", "constraints.txt"} <= set(copied)
    for source in copied:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignore, source
    assert of("runtime", "COPY") == ["--from=build /opt/potnode /opt/potnode"]


def test_it_runs_as_nobody_special_and_keeps_its_data_in_one_volume() -> None:
    [user] = of("runtime", "USER")
    assert user == "potnode"
    keywords = [keyword for keyword, _ in stages()["runtime"]]
    assert "RUN" not in keywords[keywords.index("USER") :]
    assert of("runtime", "VOLUME") == ["/data"]
    assert json.loads(of("runtime", "ENTRYPOINT")[0]) == ["potnode"]
    assert json.loads(of("runtime", "CMD")[0]) == ["run"]


def test_the_ports_are_the_documented_defaults(services: dict[str, Any]) -> None:
    settings = config.load(environ={}).settings
    assert (settings.stratum.port, settings.api.port) == (3333, 5000)
    assert of("runtime", "EXPOSE") == ["3333 5000"]
    assert services["node"]["ports"] == [
        "${STRATUM_BIND:-127.0.0.1}:3333:3333",
        "127.0.0.1:5000:5000",
    ]


def test_a_node_understands_the_variables_of_the_image() -> None:
    ours = {name: value for name, value in variables().items() if name.startswith("POTNODE_")}
    settings = config.load(environ=ours).settings
    assert settings.stratum.host == settings.api.host == "0.0.0.0"  # noqa: S104
    assert settings.data_dir == Path("/data")


def test_health_is_asked_where_the_node_answers(services: dict[str, Any]) -> None:
    [check] = of("runtime", "HEALTHCHECK")
    command = json.loads(check[check.index("CMD") + len("CMD") :])
    assert services["node"]["healthcheck"]["test"] == ["CMD", *command]
    compile(command[-1], "healthcheck", "exec")
    assert HEALTH in command[-1]


def test_no_service_can_gain_rights_and_each_has_a_health_check(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "healthcheck" in service, name
    assert services["miner"]["depends_on"] == {"node": {"condition": "service_healthy"}}
    assert services["miner"]["profiles"] == ["miner"]


def test_the_compose_file_builds_this_dockerfile(services: dict[str, Any]) -> None:
    build = services["node"]["build"]
    context = (ROOT / "docker" / build["context"]).resolve()
    assert context == ROOT
    assert (context / build["dockerfile"]).is_file()
    assert services["node"]["volumes"] == ["data:/data"]
