"""Configuration: `potnode.toml` < environment `POTNODE_SECTION__KEY` < command line.

Read once at start into frozen models; unknown keys are refused with the nearest known name, and
every value knows where it came from (`potnode config show`). Secrets never show.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from potnode.errors import ConfigError

HIDDEN = "***"
_URLS = ("chain.url", "store.url", "work.bitcoind")
ENV_PREFIX = "POTNODE_"
ENV_CONFIG_FILE = "POTNODE_CONFIG"
# One name of its own, because users set it for single commands.
ENV_ALIASES = {"POTNODE_DATASETS": "datasets.path"}
DEFAULT_FILE = Path("potnode.toml")
_ADDRESS = r"^0x[0-9a-fA-F]{40}$"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _listed(value: object) -> object:
    """A list as a variable or an option has it: parts with commas between."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class StratumSettings(_Section):
    """The pool miners connect to."""

    host: str = Field(
        "127.0.0.1", description="Address to listen on; 0.0.0.0 for a hall of miners."
    )
    port: int = Field(3333, ge=0, le=65535, description="TCP port; 0 takes any free one.")
    tls_certificate: Path | None = Field(
        None, description="PEM file of certificates; miners may then use TLS on the same port."
    )
    tls_key: Path | None = Field(None, description="PEM file of the certificate's private key.")
    tls_port: int | None = Field(
        None, ge=0, le=65535, description="Another port, where TLS alone is spoken."
    )
    proxies: Names = Field(
        (), description="Addresses or networks whose PROXY header says where a miner really is."
    )
    max_connections: int = Field(10_000, ge=1, description="Miners connected at a time.")
    max_per_address: int = Field(
        4096, ge=1, description="Of these, from one address; a hall may stand behind one."
    )
    submits_per_second: float = Field(
        2_000, gt=0, description="Of one connection; what comes faster is read later, not lost."
    )
    shares_per_minute: float = Field(
        600, gt=0, le=60_000, description="Shares an ASIC is to send, unless all send too many."
    )
    start_difficulty: int = Field(
        1024, ge=1, le=1 << 62, description="An ASIC's first difficulty; a power of two."
    )
    cpu_miners: bool = Field(
        True,
        description="Serve CPU miners, known by their user agent, at difficulties below 1.",
    )
    stale_grace: float = Field(
        5,
        ge=0,
        le=600,
        description="Seconds after a new block in which work on the one before is answered true.",
    )

    @field_validator("host")
    @classmethod
    def _hosts(cls, value: str) -> str:
        if not all(host.strip() for host in value.split(",")):
            raise ValueError("must name where to listen; 0.0.0.0,:: is everywhere")
        return value

    @field_validator("start_difficulty")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError("must be a power of two: firmware rounds anything else")
        return value

    @model_validator(mode="after")
    def _whole_tls(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key need each other")
        if self.tls_port is not None and self.tls_certificate is None:
            raise ValueError("tls_port needs tls_certificate and tls_key")
        return self


class WorkSettings(_Section):
    """Where block templates come from."""

    source: Literal["standalone", "bitcoind"] = Field(
        "standalone", description="standalone: no real blocks. bitcoind: real ones, and their pay."
    )
    # Not signet: its blocks need a signature.
    network: Literal["main", "test", "testnet4", "regtest"] = Field(
        "main", description="Bitcoin network of the nodes and of payout addresses."
    )
    bitcoind: Names = Field(
        (), repr=False, description="URLs http://user:password@host:port, the preferred node first."
    )
    cookie_file: Path | None = Field(
        None, description="bitcoind's .cookie file, for URLs without user and password."
    )
    zmq: Names = Field(
        (), description="Endpoints tcp://host:port where bitcoind publishes hashblock."
    )
    payout_address: str | None = Field(None, description="Bitcoin address that blocks pay.")
    solo: bool = Field(
        False, description="Pay a block to the miner that found it instead; no payout_address."
    )
    coinbase_tag: str = Field(
        "/potnode/", max_length=40, pattern=r"^[ -~]*$", description="ASCII text in the coinbase."
    )
    refresh_seconds: float = Field(
        10, ge=1, le=30, description="Between jobs of new training steps while ASICs mine."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.source == "bitcoind":
            if not self.bitcoind:
                raise ValueError("source bitcoind needs the URL of a node in work.bitcoind")
            if self.solo == (self.payout_address is not None):
                raise ValueError("give either payout_address or solo = true")
        elif "source" not in self.model_fields_set:
            # Who names a bitcoind and is paid nothing should not have to find out by waiting.
            for name in ("bitcoind", "payout_address", "solo"):
                if getattr(self, name):
                    raise ValueError(f'{name} is set, which needs source = "bitcoind" as well')
        return self


class ApiSettings(_Section):
    """REST, JSON-RPC, metrics."""

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(5000, ge=0, le=65535, description="TCP port; 0 takes any free one.")
    token: SecretStr | None = Field(
        None, description="What writers show as a bearer token; needed beyond loopback."
    )
    token_file: Path | None = Field(None, description="File whose first line is the token.")
    hosts: Names = Field(
        (), description="Names under which the API may be written to, beside this machine's own."
    )


class ChainSettings(_Section):
    """The EVM chain steps are recorded on."""

    url: str | None = Field(None, description="JSON-RPC of a chain; none runs the embedded one.")
    contract: str | None = Field(
        None, pattern=_ADDRESS, description="Contract on that chain; none deploys or finds ours."
    )
    confirmations: int = Field(1, ge=1, le=1000, description="Blocks until a record is final.")


class KeySettings(_Section):
    """The operator's key (keystore v3 in the data directory)."""

    password: SecretStr | None = Field(None, description="Password; else the file, else made.")
    password_file: Path | None = Field(None, description="File whose first line is the password.")


class StoreSettings(_Section):
    """The node's database."""

    url: str | None = Field(
        None, description="SQLAlchemy URL; none is SQLite in the data directory."
    )


class EngineSettings(_Section):
    """Evaluation."""

    device: str = Field(
        "cpu", description="cpu; or a device of torch: cuda, cuda:1, or torch:cpu to compare with."
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="CPU threads; none takes all cores."
    )


class DatasetSettings(_Section):
    """Where data files are."""

    path: Path | None = Field(None, description="Folder of dataset files (POTNODE_DATASETS).")


class JobSettings(_Section):
    """Which jobs this node trains."""

    from_anyone: bool = Field(
        False, description="Train jobs of any owner that names this operator, not only its own."
    )
    memory_mib: int = Field(
        2048, ge=1, le=1 << 30, description="MiB of memory that a job may take, as estimated."
    )
    sample_products: int = Field(
        50_000_000, ge=1, le=1 << 53, description="Multiplications of one sample, at most."
    )
    step_products: int = Field(
        10**13, ge=1, le=1 << 62, description="Multiplications of a whole step, at most."
    )


class FeedbackSettings(_Section):
    """Pairs that people add to jobs of preferences."""

    batch: int = Field(
        32, ge=1, le=1 << 20, description="Pairs that become a part of the data together."
    )
    steps: int = Field(
        20, ge=1, le=1 << 20, description="Steps after which fewer of them do, at the latest."
    )


class LogSettings(_Section):
    """Logging, to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level.")
    json_lines: bool = Field(False, description="One JSON object a line instead of text.")


class Settings(_Section):
    """All settings of a node."""

    data_dir: Path = Field(Path("chain_data"), description="Chain, database and keys of this node.")
    stratum: StratumSettings = StratumSettings()
    work: WorkSettings = WorkSettings()
    api: ApiSettings = ApiSettings()
    chain: ChainSettings = ChainSettings()
    keys: KeySettings = KeySettings()
    store: StoreSettings = StoreSettings()
    engine: EngineSettings = EngineSettings()
    datasets: DatasetSettings = DatasetSettings()
    jobs: JobSettings = JobSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    log: LogSettings = LogSettings()

    @field_validator("data_dir", mode="before")
    @classmethod
    def _no_empty_directory(cls, value: object) -> object:
        if value == "":  # as a path it would be the working directory
            raise ValueError("must name a directory")
        return value


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and, by dotted name, where each value came from: file, variable, or `default`."""

    settings: Settings
    sources: Mapping[str, str]

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """(dotted name, value, source) of every setting; secrets as asterisks, unset as None."""
        for name in known_settings():
            value: Any = self.settings
            for part in name.split("."):
                value = getattr(value, part)
            if isinstance(value, Path | SecretStr):
                value = str(value)
            elif isinstance(value, tuple):
                value = [_without_secrets(part) if name in _URLS else part for part in value]
            elif value is not None and name in _URLS:
                value = _without_secrets(value)
            yield name, value, self.sources[name]


def _without_secrets(url: str) -> str:
    """A URL to show: passwords and, over HTTP, all that may be an access key are asterisks."""
    scheme, _, rest = url.rpartition("://")
    parts = urlsplit(url)
    if "@" in rest and (not scheme or "@" not in parts.netloc):
        # No URL, or one cut short by a character of the password.
        return f"{scheme}://{HIDDEN}" if scheme else HIDDEN
    if parts.scheme not in ("http", "https") and parts.password is None and not parts.query:
        return url  # a file's, whose slashes matter
    user, at, host = parts.netloc.rpartition("@")
    if user.count(":"):
        user = user.partition(":")[0] + ":" + HIDDEN
    path, query = parts.path, parts.query and HIDDEN
    if parts.scheme in ("http", "https") and (path.strip("/") or query):
        path, query = "/" + HIDDEN, ""
    return urlunsplit((parts.scheme, user + at + host, path, query, ""))


def known_settings() -> dict[str, str]:
    """Dotted name of every setting with its description."""
    names: dict[str, str] = {}
    for name, top in Settings.model_fields.items():
        section = top.annotation
        if isinstance(section, type) and issubclass(section, _Section):
            for key, field_info in section.model_fields.items():
                names[f"{name}.{key}"] = field_info.description or ""
        else:
            names[name] = top.description or ""
    return names


def load(
    overrides: Mapping[str, Any] | None = None,
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Read the configuration.

    Args:
        overrides: dotted names from the command line; None values are not given.
        file: a file that must exist; None takes $POTNODE_CONFIG, else ./potnode.toml where it
            exists.

    Raises:
        ConfigError: an unreadable file, an unknown key, a value out of range.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    sources = dict.fromkeys(known_settings(), "default")
    for source, given in (
        *_from_file(file, environ),
        *_from_environment(environ),
        *(("command line", {k: v}) for k, v in (overrides or {}).items() if v is not None),
    ):
        for name, value in given.items():
            _require_known(name, source)
            values[name] = value
            sources[name] = source
    nested: dict[str, Any] = {}
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[key] = value
    try:
        return Loaded(Settings.model_validate(nested), sources)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        source = f" ({sources[name]})" if name in sources else ""
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{name}{source}: {message}") from None


def _from_file(
    file: Path | None, environ: Mapping[str, str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    if file is None and ENV_CONFIG_FILE in environ:
        file = Path(environ[ENV_CONFIG_FILE])
    if file is None:
        if not DEFAULT_FILE.exists():
            return
        file = DEFAULT_FILE
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: is not TOML: {error}") from error
    for key, value in document.items():
        if isinstance(value, dict):
            yield str(file), {f"{key}.{inner}": v for inner, v in value.items()}
        else:
            yield str(file), {key: value}


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for variable in sorted(environ):
        if variable in ENV_ALIASES:
            yield variable, {ENV_ALIASES[variable]: environ[variable]}
        elif variable.startswith(ENV_PREFIX) and variable != ENV_CONFIG_FILE:
            name = variable.removeprefix(ENV_PREFIX).lower().replace("__", ".")
            yield variable, {name: environ[variable]}


def _require_known(name: str, source: str) -> None:
    known = known_settings()
    if name not in known:
        raise ConfigError(f"{source}: unknown setting {name}{nearest(name, list(known))}")


def nearest(name: str, known: list[str]) -> str:
    """`; did you mean X?` for the known name most like `name`, or nothing."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""
