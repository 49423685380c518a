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
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from potnode.errors import ConfigError

HIDDEN = "***"
_URLS = ("chain.url", "store.url")
ENV_PREFIX = "POTNODE_"
ENV_CONFIG_FILE = "POTNODE_CONFIG"
# One name of its own, because users set it for single commands.
ENV_ALIASES = {"POTNODE_DATASETS": "datasets.path"}
DEFAULT_FILE = Path("potnode.toml")
_ADDRESS = r"^0x[0-9a-fA-F]{40}$"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StratumSettings(_Section):
    """The pool miners connect to."""

    host: str = Field(
        "127.0.0.1", description="Address to listen on; 0.0.0.0 for a hall of miners."
    )
    port: int = Field(3333, ge=0, le=65535, description="TCP port; 0 takes any free one.")


class ApiSettings(_Section):
    """REST, JSON-RPC, metrics."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(5000, ge=0, le=65535, description="TCP port; 0 takes any free one.")


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

    device: str = Field("cpu", description="torch device: cpu, cuda, cuda:1.")
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


class LogSettings(_Section):
    """Logging, to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level.")
    json_lines: bool = Field(False, description="One JSON object a line instead of text.")


class Settings(_Section):
    """All settings of a node."""

    data_dir: Path = Field(Path("chain_data"), description="Chain, database and keys of this node.")
    stratum: StratumSettings = StratumSettings()
    api: ApiSettings = ApiSettings()
    chain: ChainSettings = ChainSettings()
    keys: KeySettings = KeySettings()
    store: StoreSettings = StoreSettings()
    engine: EngineSettings = EngineSettings()
    datasets: DatasetSettings = DatasetSettings()
    jobs: JobSettings = JobSettings()
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
            elif value is not None and name in _URLS:
                value = _without_secrets(value)
            yield name, value, self.sources[name]


def _without_secrets(url: str) -> str:
    """A URL to show: passwords and, over HTTP, all that may be an access key are asterisks."""
    parts = urlsplit(url)
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
        raise ConfigError(f"{name} ({sources.get(name, '?')}): {first['msg']}") from None


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
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"; did you mean {close[0]}?" if close else ""
