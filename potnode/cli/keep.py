"""Commands that look after a data directory: keys, database, configuration."""

from __future__ import annotations

import typer

from potnode.cli.options import AsJson, ConfigFile, DataDir, loaded, settings, show

commands = typer.Typer()
keys = typer.Typer(help="The operator's key.", no_args_is_help=True)
database = typer.Typer(help="The node's database.", no_args_is_help=True)
configuration = typer.Typer(help="Configuration.", no_args_is_help=True)
commands.add_typer(keys, name="keys")
commands.add_typer(database, name="db")
commands.add_typer(configuration, name="config")


@keys.command("new")
def keys_new(config: ConfigFile = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Make the operator's key, or say which one is there."""
    from potnode.access import operator_key

    address = operator_key(settings(config, data_dir)).checksum_address
    show({"address": address}, as_json=as_json, text=address)


@keys.command("show")
def keys_show(config: ConfigFile = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Print the operator's address; the key itself never leaves its file."""
    from potnode.access import operator_key

    address = operator_key(settings(config, data_dir), create=False).checksum_address
    show({"address": address}, as_json=as_json, text=address)


@database.command("upgrade")
def database_upgrade(config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Bring the database to this version's schema."""
    from potnode.access import database_url
    from potnode.store.schema import upgrade

    url = database_url(settings(config, data_dir))
    upgrade(url)
    show(None, as_json=False, text="the database has this version's schema")


@configuration.command("show")
def configuration_show(
    config: ConfigFile = None, data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """Print every setting with where its value comes from."""
    rows = list(loaded(config, data_dir).rows())
    width = max(len(name) for name, _, _ in rows)
    show(
        {name: {"value": value, "source": source} for name, value, source in rows},
        as_json=as_json,
        text="\n".join(
            f"{name:<{width}} = {_text(value)}  # {source}" for name, value, source in rows
        ),
    )


def _text(value: object) -> str:
    return "" if value is None else str(value)
