from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from potnode import __version__

ASSETS = ["/docs/start.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"]


class _References(HTMLParser):
    """Everything a page refers to, and whether it holds a script of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline_script = False
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_script = tag == "script"
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "action")]

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        self.inline_script |= self._in_script and bool(data.strip())


def test_the_root_leads_to_the_docs(client: TestClient) -> None:
    response = client.get("/")
    assert response.status_code == 307
    assert urljoin("http://node/", response.headers["location"]) == "http://node/docs"


def test_the_docs_need_no_other_host(client: TestClient) -> None:
    response = client.get("/docs")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "://" not in response.text
    page = _References()
    page.feed(response.text)
    assert not page.inline_script
    local = [each for each in page.found if each != "data:,"]
    assert {urljoin("/docs", each) for each in local} == {*ASSETS, "/openapi.json"}
    for reference in local:
        assert client.get(urljoin("/docs", reference)).status_code == 200


def test_the_browser_is_told_to_load_nothing_from_elsewhere(client: TestClient) -> None:
    policy = client.get("/docs").headers["content-security-policy"]
    sources = {part.split()[0]: part.split()[1:] for part in policy.split("; ")}
    assert sources["default-src"] == ["'none'"]
    assert sources["script-src"] == sources["connect-src"] == ["'self'"]
    assert "://" not in policy


@pytest.mark.parametrize("path", ASSETS)
def test_assets_are_what_they_say(client: TestClient, path: str) -> None:
    response = client.get(path)
    expected = "text/css" if path.endswith("css") else "text/javascript"
    assert response.headers["content-type"].startswith(expected)
    # A style sheet may not bring others, fonts or pictures from elsewhere either.
    if path.endswith("css"):
        assert not re.search(r"url\(\s*[\"']?https?:|@import", response.text)


def test_the_page_shows_the_nodes_own_document(client: TestClient) -> None:
    start = client.get("/docs/start.js").text
    assert 'url: "openapi.json"' in start
    assert "validatorUrl: null" in start


def test_the_document_is_complete(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert document["info"]["title"] == "potnode"
    assert document["info"]["version"] == __version__
    assert set(document["paths"]) == {
        "/api/v1/jobs",
        "/api/v1/jobs/{job}",
        "/api/v1/jobs/{job}/steps",
        "/api/v1/jobs/{job}/steps/{step}",
        "/api/v1/jobs/{job}/model",
        "/api/v1/jobs/{job}/feedback",
        "/api/v1/jobs/{job}/feedback/parts/{first}",
        "/api/v1/proofs",
        "/api/v1/proofs/{share_hash}",
        "/api/v1/workers",
        "/api/v1/pool",
        "/api/v1/pool/blocks",
        "/api/v1/chain",
        "/job",
        "/job/{id}",
        "/rpc",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            assert operation["description"], path
            answers = operation["responses"]
            answer = answers["202" if "202" in answers else "200"]["content"]
            assert answer, path
            assert "500" in operation["responses"], path


def test_every_reference_of_the_document_leads_somewhere(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    references = re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document))
    assert set(references) <= set(schemas)
    assert {"Problem", "Mistake", "ProofDetail"} <= set(schemas)
    assert "HTTPValidationError" not in schemas


def test_the_document_is_made_once(client: TestClient) -> None:
    app = client.app
    assert isinstance(app, FastAPI)
    assert app.openapi() is app.openapi()
