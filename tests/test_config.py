"""Configuration: precedence, sources, and refusals that name the nearest known key."""

from __future__ import annotations

from pathlib import Path

import pytest

from potnode.config import Settings, known_settings, load
from potnode.errors import ConfigError


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "potnode.toml"
    path.write_text(text)
    return path


def test_defaults_are_those_users_rely_on() -> None:
    settings = Settings()
    assert (settings.stratum.host, settings.stratum.port) == ("127.0.0.1", 3333)
    assert (settings.api.host, settings.api.port) == ("127.0.0.1", 5000)
    assert settings.data_dir == Path("chain_data")


def test_the_command_line_wins_over_the_environment_over_the_file(tmp_path: Path) -> None:
    file = _file(tmp_path, "[stratum]\nport = 1\nhost = 'file'\n[api]\nport = 1\n")
    environ = {"POTNODE_STRATUM__PORT": "2", "POTNODE_API__PORT": "2"}
    loaded = load({"api.port": 3, "stratum.host": None}, file=file, environ=environ)
    assert loaded.settings.stratum.host == "file"
    assert loaded.settings.stratum.port == 2
    assert loaded.settings.api.port == 3
    sources = {name: source for name, _, source in loaded.rows()}
    assert sources["stratum.host"] == str(file)
    assert sources["stratum.port"] == "POTNODE_STRATUM__PORT"
    assert sources["api.port"] == "command line"
    assert sources["data_dir"] == "default"


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    file = _file(tmp_path, "data_dir = '/somewhere'\n")
    loaded = load(environ={"POTNODE_CONFIG": str(file)})
    assert loaded.settings.data_dir == Path("/somewhere")


def test_datasets_have_a_short_variable() -> None:
    assert load(environ={"POTNODE_DATASETS": "/data"}).settings.datasets.path == Path("/data")


@pytest.mark.parametrize(
    ("text", "environ", "message"),
    [
        (
            "[stratum]\nprot = 1\n",
            {},
            r"unknown setting stratum\.prot; did you mean stratum\.port\?",
        ),
        (
            "[stratumm]\nport = 1\n",
            {},
            r"unknown setting stratumm\.port; did you mean stratum\.port\?",
        ),
        ("", {"POTNODE_STRATUM__PROT": "1"}, r"POTNODE_STRATUM__PROT: unknown setting"),
        ("[stratum]\nport = 70000\n", {}, r"stratum\.port .*less than or equal to 65535"),
        ("", {"POTNODE_API__PORT": "many"}, r"api\.port \(POTNODE_API__PORT\)"),
        ("[chain]\ncontract = 'abc'\n", {}, r"chain\.contract"),
        ("not toml", {}, r"is not TOML"),
        ("[stratum]\nstart_difficulty = 1000\n", {}, r"start_difficulty .*power of two"),
        ("[stratum]\ntls_certificate = 'a.pem'\n", {}, r"tls_key need each other"),
        ("[stratum]\ntls_port = 3334\n", {}, r"tls_port needs tls_certificate"),
        ("[work]\nsource = 'bitcoind'\n", {}, r"needs the URL of a node"),
        # Miners are sent work every 30 s whatever happens.
        ("[work]\nrefresh_seconds = 31\n", {}, r"refresh_seconds .*less than or equal to 30"),
        (
            "[work]\nsource = 'bitcoind'\nbitcoind = ['http://h:1']\n",
            {},
            r"either payout_address or solo",
        ),
        (
            "[work]\nsource = 'bitcoind'\nsolo = true\npayout_address = 'x'\n",
            {"POTNODE_WORK__BITCOIND": "http://h:1"},
            r"either payout_address or solo",
        ),
        (
            "[work]\nbitcoind = ['http://h:1']\n",
            {},
            r'^work: bitcoind is set, which needs source = "bitcoind" as well$',
        ),
        ("", {"POTNODE_WORK__SOLO": "true"}, r"^work: solo is set, which needs source"),
        ("[work]\nnetwork = 'signet'\n", {}, r"work\.network"),
        ("", {"POTNODE_STRATUM__HOST": ""}, r"^stratum\.host \(POTNODE_STRATUM__HOST\): must name"),
        ("[stratum]\nhost = '0.0.0.0,'\n", {}, r"stratum\.host .*must name where"),
        ("[api]\nhost = ''\n", {}, r"api\.host"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, text: str, environ: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load(file=_file(tmp_path, text), environ=environ)


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(file=tmp_path / "absent.toml", environ={})


def test_secrets_do_not_show() -> None:
    loaded = load(environ={"POTNODE_KEYS__PASSWORD": "hunter2"})
    shown = str(list(loaded.rows())) + repr(loaded)
    assert "hunter2" not in shown
    assert "*" in shown


def test_credentials_of_a_bitcoind_do_not_show() -> None:
    loaded = load(
        environ={
            "POTNODE_WORK__SOURCE": "bitcoind",
            "POTNODE_WORK__BITCOIND": "http://me:hunter2@one:8332, http://two:8332",
            "POTNODE_WORK__SOLO": "true",
        }
    )
    assert loaded.settings.work.bitcoind == ("http://me:hunter2@one:8332", "http://two:8332")
    shown = {name: value for name, value, _ in loaded.rows()}
    assert shown["work.bitcoind"] == ["http://me:***@one:8332", "http://two:8332"]
    assert "hunter2" not in str(shown) + repr(loaded)


@pytest.mark.parametrize(
    "url",
    ["me:hunter2@one:8332", "http://me:hunter2/x@one:8332", "http://me:x@hunter2@one", "hunter2@h"],
)
def test_credentials_in_what_is_no_url_do_not_show(url: str) -> None:
    loaded = load(environ={"POTNODE_WORK__SOURCE": "standalone", "POTNODE_WORK__BITCOIND": url})
    shown = {name: value for name, value, _ in loaded.rows()}
    assert "hunter2" not in str(shown)
    assert "***" in str(shown["work.bitcoind"])


def test_every_setting_is_described() -> None:
    assert all(known_settings().values()), known_settings()
