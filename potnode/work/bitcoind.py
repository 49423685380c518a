"""JSON-RPC to one bitcoind: the calls a miner needs, typed, with a bound on time and size.

Errors of every kind come out as `BitcoindError`s whose messages can be logged: credentials are sent
in a header, never in a URL, and nothing bitcoind was sent is repeated. Choosing among several
bitcoinds, retrying and waiting are others' business.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, Final, Self

import httpx2
import msgspec

from potnode.work.errors import (
    BitcoindUnavailable,
    BitcoindWarmingUp,
    CallRefused,
    GarbageReceived,
    WrongCredentials,
)

MAX_ANSWER: Final = 64 << 20
"""Bytes: a template of the largest blocks is about 10 MB of JSON."""

# bitcoind wakes a long poll at a new tip, and after a minute at new transactions. One that is hung
# up keeps a worker of its RPC server busy until then, so it is given time: what it does not tell,
# polling does.
LONG_POLL_TIMEOUT: Final = 1800.0
# What decoding raises for JSON that is none, of other types, no UTF-8, or nested without end.
_NOT_OURS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_IDLE_CONNECTION: Final = 20.0  # bitcoind hangs up after 30 (-rpcservertimeout)
_WARMING_UP: Final = -28
_UNKNOWN_BLOCK: Final = -5
NO_SUCH_METHOD: Final = -32601


class _Error(msgspec.Struct):
    code: int
    message: str


class _Answer(msgspec.Struct):
    id: int | None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _Error | None = None


class ChainInfo(msgspec.Struct, frozen=True):
    """Of `getblockchaininfo`. chain: main, test, testnet4, signet or regtest."""

    chain: str


class HeaderInfo(msgspec.Struct, frozen=True):
    """Of `getblockheader`. confirmations: -1 off the best chain. bits, chainwork: hex."""

    hash: str
    confirmations: int
    height: int
    mediantime: int
    bits: str
    chainwork: str


@dataclass(frozen=True, slots=True)
class Access:
    """Where a bitcoind is and how to log in: by user and password, or by its cookie file.

    Its repr leaves the password out.
    """

    url: str
    login: httpx2.BasicAuth | None
    cookie_file: Path | None

    @classmethod
    def parse(cls, url: str, cookie_file: Path | None = None) -> Self:
        """Read `http[s]://[user:password@]host[:port]`.

        Raises:
            ValueError: not such a URL, or not exactly one way to log in. Does not repeat the URL.
        """
        try:
            parsed = httpx2.URL(url)
        except httpx2.InvalidURL:
            # The cause would show a part of the URL, which may be the password.
            raise ValueError(
                "the address of bitcoind is not a URL: in a password, / : @ # ? % are written "
                "%2F %3A %40 %23 %3F %25"
            ) from None
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise ValueError("the address of bitcoind must be http://[user:password@]host:port")
        if bool(parsed.username) == (cookie_file is not None):
            raise ValueError(
                "bitcoind needs user and password in its URL, or a cookie file, and not both"
            )
        login = httpx2.BasicAuth(parsed.username, parsed.password) if parsed.username else None
        port = parsed.port
        if port is None:
            port = 443 if parsed.scheme == "https" else 8332
        if not 1 <= port <= 65535:
            raise ValueError("the port of bitcoind must be 1 to 65535")
        bare = parsed.copy_with(username=None, password=None, port=port)
        return cls(str(bare), login, cookie_file)


class Bitcoind:
    """One bitcoind. Every method raises a `BitcoindError` where there is no usable answer.

    Args:
        url: `http://user:password@host:port`, or without user where there is a cookie file.
        cookie_file: bitcoind's `.cookie`, read at the first call and again when it is refused,
            since every start of bitcoind writes a new one.
        timeout: seconds for a whole call, from connecting to the last byte.

    Raises:
        ValueError: as `Access.parse`.
    """

    def __init__(
        self,
        url: str,
        *,
        cookie_file: Path | None = None,
        timeout: float = 10.0,
        max_answer: int = MAX_ANSWER,
    ) -> None:
        self._access = Access.parse(url, cookie_file)
        self._login = self._access.login
        self._timeout = timeout
        self._max_answer = max_answer
        self._ids = itertools.count(1)
        address = httpx2.URL(self._access.url)
        self.name = f"{address.host}:{address.port}"
        """Host and port: how logs and files name this bitcoind."""
        self._client = httpx2.AsyncClient(
            trust_env=False,  # a proxy meant for the web must not see credentials
            timeout=None,  # asyncio.timeout bounds the whole call instead
            limits=httpx2.Limits(keepalive_expiry=_IDLE_CONNECTION),
            headers={"Accept-Encoding": "identity"},
            # bitcoind sets none; one of garbage would make every later request fail.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )

    async def aclose(self) -> None:
        """Close its connections. Calls that are under way fail."""
        await self._client.aclose()

    async def chain_info(self) -> ChainInfo:
        """Which chain it follows."""
        info: ChainInfo = await self.call("getblockchaininfo", (), ChainInfo)
        return info

    async def best_block_hash(self) -> str:
        """Its tip: 64 hex digits as people write hashes."""
        best: str = await self.call("getbestblockhash", (), str)
        if len(best) != 64 or not _is_hex(best):
            raise GarbageReceived(f"{self.name}: getbestblockhash did not give a hash")
        return best

    async def block_header(self, block_hash: str) -> HeaderInfo | None:
        """What it knows of a block; None where it knows none of this hash."""
        try:
            info: HeaderInfo = await self.call("getblockheader", (block_hash, True), HeaderInfo)
        except CallRefused as error:
            if error.code == _UNKNOWN_BLOCK:
                return None
            raise
        if len(info.bits) != 8 or not (_is_hex(info.bits) and _is_hex(info.chainwork)):
            raise GarbageReceived(f"{self.name}: getblockheader gave bits or work that are not hex")
        if not (0 <= info.height < 1 << 31 and 0 <= info.mediantime < 1 << 32):
            raise GarbageReceived(f"{self.name}: getblockheader gave a height or time that is none")
        return info

    async def template(self, longpollid: str | None = None) -> msgspec.Raw:
        """The JSON of a block template; with a longpollid, of the next that differs from its."""
        request: dict[str, Any] = {"rules": ["segwit"], "capabilities": ["longpoll"]}
        within = None
        if longpollid is not None:
            request["longpollid"] = longpollid
            within = LONG_POLL_TIMEOUT
        answer: msgspec.Raw = await self.call(
            "getblocktemplate", (request,), msgspec.Raw, within=within
        )
        return answer

    async def submit_block(self, block: bytes) -> str | None:
        """Hand a block in: None when it is accepted, else the reason by BIP22 and validation."""
        reason: str | None = await self.call("submitblock", (block.hex(),), str | None)
        return reason

    async def precious_block(self, block_hash: str) -> bool:
        """Have it prefer this block to one of equal work; False where the call does not exist."""
        try:
            await self.call("preciousblock", (block_hash,), None)
        except CallRefused as error:
            if error.code == NO_SUCH_METHOD:
                return False
            raise
        return True

    async def call(
        self, method: str, params: tuple[Any, ...], type_: Any, *, within: float | None = None
    ) -> Any:
        """Call a method and decode its result strictly as `type_`, within that many seconds."""
        number = next(self._ids)
        body = msgspec.json.encode(
            {"jsonrpc": "1.0", "id": number, "method": method, "params": params}
        )
        limit = self._timeout if within is None else within
        try:
            async with asyncio.timeout(limit):
                status, answer = await self._post_logged_in(method, body)
        except TimeoutError as error:
            raise BitcoindUnavailable(
                f"{self.name}: no answer to {method} in {limit:g} s"
            ) from error
        except httpx2.HTTPError as error:
            # Its text names addresses and system errors only: the URL has no credentials.
            reason = str(error) or type(error).__name__
            raise BitcoindUnavailable(f"{self.name}: {method} failed: {reason}") from error
        return self._result(method, number, status, answer, type_)

    async def _post_logged_in(self, method: str, body: bytes) -> tuple[int, bytes]:
        if self._login is None:
            self._login = self._read_cookie()
        status, answer = await self._post(method, body, self._login)
        if status == 401 and self._access.cookie_file is not None:
            self._login = self._read_cookie()
            status, answer = await self._post(method, body, self._login)
        if status == 401:
            raise WrongCredentials(f"{self.name}: refuses the credentials (HTTP 401)")
        if status == 403:
            raise WrongCredentials(f"{self.name}: refuses this address (HTTP 403, see -rpcallowip)")
        return status, answer

    async def _post(self, method: str, body: bytes, login: httpx2.BasicAuth) -> tuple[int, bytes]:
        answer = bytearray()
        async with self._client.stream(
            "POST",
            self._access.url,
            content=body,
            auth=login,
            headers={"Content-Type": "application/json"},
        ) as response:
            async for chunk in response.aiter_raw():
                answer += chunk
                if len(answer) > self._max_answer:
                    raise GarbageReceived(
                        f"{self.name}: answers {method} with more than {self._max_answer} bytes"
                    )
            return response.status_code, bytes(answer)

    def _result(self, method: str, number: int, status: int, answer: bytes, type_: Any) -> Any:
        # Errors come with status 500 or 404 and a body; a full work queue with 503 and text.
        if status not in {200, 404, 500}:
            raise BitcoindUnavailable(f"{self.name}: answers {method} with HTTP {status}")
        try:
            decoded = msgspec.json.decode(answer, type=_Answer)
        except _NOT_OURS as error:
            raise GarbageReceived(f"{self.name}: answers {method} with garbage: {error}") from error
        if decoded.error is not None:
            raise self._refusal(method, decoded.error)
        if decoded.id != number:
            raise GarbageReceived(f"{self.name}: answers {method} under another call's id")
        try:
            return msgspec.json.decode(decoded.result, type=type_)
        except _NOT_OURS as error:
            raise GarbageReceived(f"{self.name}: result of {method}: {error}") from error

    def _refusal(self, method: str, error: _Error) -> Exception:
        # The message is bitcoind's own; cut so that a log line stays one.
        text = f"{self.name}: {method}: {error.message[:200]!r} ({error.code})"
        if error.code == _WARMING_UP:
            return BitcoindWarmingUp(text)
        return CallRefused(error.code, text)

    def _read_cookie(self) -> httpx2.BasicAuth:
        path = self._access.cookie_file
        if path is None:
            raise WrongCredentials(f"{self.name}: no credentials are configured")
        try:
            user, colon, password = path.read_text(encoding="utf-8").strip().partition(":")
        except (OSError, UnicodeDecodeError) as error:
            # A bitcoind that is stopped has no cookie file.
            raise BitcoindUnavailable(f"{self.name}: cookie file {path}: {error}") from error
        if not colon:
            raise WrongCredentials(f"{self.name}: {path} is not a cookie file")
        return httpx2.BasicAuth(user, password)


def _is_hex(text: str) -> bool:
    return bool(text) and not set(text) - set("0123456789abcdefABCDEF")
