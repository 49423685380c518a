"""Who may write: tokens, hosts, and pages of other sites."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from potnode.api.app import create_app
from potnode.api.writing import WriteRules, write_rules
from potnode.config import ApiSettings
from potnode.errors import ConfigError
from tests.api.conftest import FakeNode

TOKEN = "0123456789abcdef"
EVERYWHERE = "0.0.0.0"  # noqa: S104  # as a setting
CALL = {"seed": "s", "nonce_range": [0, 5]}


@pytest.fixture
def client(node: FakeNode) -> Iterator[TestClient]:
    """A client that names the host as it is told to."""
    with TestClient(create_app(node), base_url="http://127.0.0.1:5000") as made:
        yield made


def status(client: TestClient, **headers: str) -> int:
    """Of a write with these headers; every refusal is a problem."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = client.post("/job", json=CALL, headers=named)
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"
        assert TOKEN not in response.text
    return response.status_code


def rules(**settings: object) -> WriteRules:
    return write_rules(ApiSettings.model_validate(settings))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:5000", "localhost:5000", "LOCALHOST", "[::1]:5000", "127.8.9.1", "pot.lan:80"],
)
def test_programs_of_this_machine_may_write(node: FakeNode, client: TestClient, host: str) -> None:
    node.write_rules = rules(hosts=["Pot.lan"])
    assert status(client, host=host) == 202


@pytest.mark.parametrize(
    "host",
    ["evil.example:5000", "127.0.0.1.evil.example", "", "localhost.", "[::1", EVERYWHERE, "a b"],
)
def test_a_name_that_was_led_here_may_not(node: FakeNode, client: TestClient, host: str) -> None:
    node.write_rules = rules()
    assert status(client, host=host) == 403


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://127.0.0.1:8080",
        "http://localhost:5000",
        "",
        "127.0.0.1",
    ],
)
def test_pages_of_other_sites_may_not(node: FakeNode, client: TestClient, origin: str) -> None:
    node.write_rules = rules()
    assert status(client, origin=origin) == 403
    node.write_rules = rules(token=TOKEN)
    assert status(client, origin=origin, authorization=f"Bearer {TOKEN}") == 403


def test_a_browser_that_says_cross_site_is_believed(node: FakeNode, client: TestClient) -> None:
    node.write_rules = rules()
    assert status(client, sec_fetch_site="cross-site") == 403
    assert status(client, sec_fetch_site="same-origin", origin="http://127.0.0.1:5000") == 202


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "192.0.2.7", "pot.lan"])
def test_beyond_loopback_nothing_is_written_without_a_token(
    node: FakeNode, client: TestClient, host: str
) -> None:
    node.write_rules = rules(host=host)
    assert status(client) == 403
    node.write_rules = rules(host=host, token=TOKEN)
    assert status(client) == 401
    assert status(client, authorization=f"Bearer {TOKEN}", host="192.0.2.7:5000") == 202


@pytest.mark.parametrize(
    "given", ["", TOKEN, "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xfc"]
)
def test_another_token_is_none(node: FakeNode, client: TestClient, given: str) -> None:
    node.write_rules = rules(token=TOKEN)
    response = client.post("/job", json=CALL, headers={b"Authorization": given.encode("latin-1")})
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"


def test_a_token_counts_on_loopback_too(node: FakeNode, client: TestClient) -> None:
    """Behind a proxy the API is bound to loopback, and everybody reaches it."""
    node.write_rules = rules(token=TOKEN)
    assert status(client) == 401
    assert status(client, authorization=f"bearer {TOKEN}") == 202


def test_every_route_that_writes_is_guarded(node: FakeNode) -> None:
    node.write_rules = rules(host=EVERYWHERE)
    app = create_app(node)
    with TestClient(app) as client:
        assert client.delete("/job/" + "ab" * 8).status_code == 403
        writing = [
            (path, method)
            for path, methods in app.openapi()["paths"].items()
            for method in methods
            if method not in ("get", "head") and path != "/rpc"  # it takes calls that only read
        ]
        assert {("/job", "post"), ("/job/{id}", "delete")} <= set(writing)
        for path, method in writing:
            filled = path.replace("{id}", "ab" * 8).replace("{job}", "ab" * 32)
            assert client.request(method, filled).status_code == 403, path


def test_reading_needs_nothing(node: FakeNode, client: TestClient) -> None:
    node.write_rules = rules(host=EVERYWHERE, token=TOKEN)
    assert client.get("/job", headers={"Host": "evil.example"}).status_code == 200


def test_a_token_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\nnot this\n")
    assert rules(token_file=file).token == TOKEN
    assert TOKEN not in repr(rules(token_file=file))
    file.write_text("\n")
    with pytest.raises(ConfigError, match="a token is 16 or more"):
        rules(token_file=file)
    with pytest.raises(ConfigError, match="No such file"):
        rules(token_file=tmp_path / "none")


@pytest.mark.parametrize(
    "token", ["", "short", "x" * 16 + "\n", "with space in it", "x" * 16 + "ü"]
)
def test_what_is_no_token_is_refused_at_the_start(token: str) -> None:
    with pytest.raises(ConfigError, match=r"api\.token") as found:
        rules(token=token)
    assert not token or token not in str(found.value)
