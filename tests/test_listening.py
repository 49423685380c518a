"""Listeners and limits from the configuration, and what is wrong with it."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from potnode.config import StratumSettings
from potnode.errors import ConfigError
from potnode.listening import limits, listeners, rules, shown
from stratum.limits import Limits
from tests.stratum.certificates import contexts


def settings(**given: Any) -> StratumSettings:
    return StratumSettings.model_validate(given)


def test_one_plain_port_unless_more_is_configured() -> None:
    [listener] = listeners(settings(host="127.0.0.1, ::1", port=3333, proxies=["192.0.2.7/24"]))
    assert (listener.host, listener.port) == (["127.0.0.1", "::1"], 3333)
    assert listener.tls is None
    assert listener.believes(ipaddress.ip_address("192.0.2.200"))
    assert not listener.believes(ipaddress.ip_address("192.0.3.1"))


def test_hosts_of_both_families_are_shown_as_urls_have_them() -> None:
    settings = StratumSettings(host="127.0.0.1, ::", port=3333)
    [listener] = listeners(settings)
    assert listener.host == ["127.0.0.1", "::"]
    assert shown(settings.host, settings.port) == "127.0.0.1:3333,[::]:3333"
    assert shown("localhost", 1) == "localhost:1"


def test_tls_is_on_the_same_port_and_may_have_one_of_its_own(tmp_path: Path) -> None:
    contexts(tmp_path)
    files = {"tls_certificate": tmp_path / "chain.pem", "tls_key": tmp_path / "key.pem"}
    same, own = listeners(settings(**files, tls_port=3334))
    assert (same.tls_only, own.tls_only, own.port) == (False, True, 3334)
    context = same.tls
    assert context is not None
    assert context is own.tls
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION


@pytest.mark.parametrize("key", ["absent", "garbage", "other", "encrypted"])
def test_a_key_that_cannot_be_used_is_named_and_nobody_is_asked(tmp_path: Path, key: str) -> None:
    contexts(tmp_path)
    certificate, secret = tmp_path / "chain.pem", tmp_path / "wrong.pem"
    if key == "garbage":
        secret.write_text("no key")
    elif key != "absent":
        made = ec.generate_private_key(ec.SECP256R1())
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if key == "encrypted":
            encryption = serialization.BestAvailableEncryption(b"secret")
            loaded = serialization.load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
            assert isinstance(loaded, ec.EllipticCurvePrivateKey)
            made = loaded
        secret.write_bytes(
            made.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
            )
        )
    with pytest.raises(ConfigError, match=r"wrong\.pem\) cannot be used"):
        listeners(StratumSettings(tls_certificate=certificate, tls_key=secret))


def test_proxies_that_are_no_networks() -> None:
    with pytest.raises(ConfigError, match=r"stratum\.proxies: 'everybody'"):
        listeners(settings(proxies=["everybody"]))


@pytest.mark.parametrize(("rate", "burst"), [(2000.0, 20_000), (0.01, 1)])
def test_limits_are_those_configured(rate: float, burst: int) -> None:
    found = limits(settings(max_connections=7, max_per_address=3, submits_per_second=rate))
    assert found == Limits(
        max_clients=7, per_address=3, submits_per_second=rate, submit_burst=burst
    )


def test_difficulty_is_as_the_operator_decides() -> None:
    found = rules(
        settings(shares_per_minute=12, start_difficulty=4096, cpu_miners=False, stale_grace=0)
    )
    assert (found.terms.shares_per_minute, found.terms.start_bits) == (12, 44)
    assert (found.terms.cpu_miners, found.stale_grace) == (False, 0)
