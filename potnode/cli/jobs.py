"""Commands on jobs: create, list, show, audit, and the model of one."""

from __future__ import annotations

import sys
from errno import ENOTDIR
from pathlib import Path
from typing import Annotated

import typer

from potnode.cli.options import AsJson, ConfigFile, DataDir, settings, show
from potnode.errors import JobFileError

commands = typer.Typer()
job = typer.Typer(help="Training jobs.", no_args_is_help=True)
model = typer.Typer(help="Trained models.", no_args_is_help=True)
commands.add_typer(job, name="job")
commands.add_typer(model, name="model")

NATIVE_COIN = "0x" + "00" * 20
JobId = Annotated[str, typer.Argument(help="Job id: 64 hex digits.")]
Rpc = Annotated[str | None, typer.Option("--rpc", help="JSON-RPC of the chain to read.")]
Contract = Annotated[str | None, typer.Option("--contract", help="Contract on that chain.")]


@job.command("create")
def job_create(
    file: Annotated[
        Path | None, typer.Argument(help="Job file (TOML), see docs/jobs.md; has defaults.")
    ] = None,
    from_torch: Annotated[
        str | None,
        typer.Option(help="module:function that returns a torch model to begin with."),
    ] = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Create a job on the chain, owned and operated by this data directory's key."""
    from potnode.access import catalog, job_limits, operator_key, writing_chain
    from potnode.chain.recorder import create_job
    from potnode.engine.cost import cost
    from potnode.engine.workers import available_cores
    from potnode.fromtorch import draft_from_torch, find_model
    from potnode.jobfile import JobFile, read_job_file
    from potnode.jobs import draft
    from potnode.spec.manifest_json import decode_manifest

    if file is None and from_torch is None:
        raise JobFileError("name a job file, see docs/jobs.md, or a model with --from-torch")
    chosen = settings(config, data_dir)
    wanted = JobFile(dataset="digits") if file is None else read_job_file(file)
    dataset = catalog(chosen).by_name(wanted.dataset)
    operator = operator_key(chosen).address
    told: dict[str, object] = {}
    if from_torch is None:
        made = draft(wanted, dataset, owner=operator, operator=operator)
    else:
        model = find_model(from_torch)
        brought = draft_from_torch(model, wanted, dataset, owner=operator, operator=operator)
        weights = brought.save(chosen.datasets.path)
        made = brought.draft
        told = {
            "weights": str(weights),
            "float_accuracy": brought.float_accuracy,
            "accuracy": brought.accuracy,
        }
        if not as_json:
            sys.stderr.write(
                f"right on held-out samples: {brought.float_accuracy:.2%} as floats, "
                f"{brought.accuracy:.2%} as integers\nweights: {weights}\n"
            )
    # Its own node would refuse it, with the escrow already paid.
    threads = chosen.engine.threads or available_cores()
    job_limits(chosen).check(cost(decode_manifest(made.manifest), made.params, threads))
    with writing_chain(chosen) as chain:
        identity = create_job(chain.ledger, chain.sender, made.params, made.manifest).hex()
    show({"job": identity, **told}, as_json=as_json, text=identity)


@job.command("list")
def job_list(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    rpc: Rpc = None,
    contract: Contract = None,
    as_json: AsJson = False,
) -> None:
    """List the jobs of a contract, oldest first."""
    from potnode.access import read_ledger
    from potnode.chain.reader import list_jobs
    from potnode.views import describe_job

    with read_ledger(settings(config, data_dir), rpc=rpc, contract=contract) as ledger:
        rows = [describe_job(ledger, found) for found in list_jobs(ledger)]
    text = "\n".join(
        f"{row['job']}  {row['dataset']}  {row['steps']}/{row['step_limit']} steps"
        + ("  closed" if row["closed"] else "")
        for row in rows
    )
    show({"items": rows, "next": None}, as_json=as_json, text=text or "no jobs")


@job.command("show")
def job_show(
    identity: JobId,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    rpc: Rpc = None,
    contract: Contract = None,
    as_json: AsJson = False,
) -> None:
    """Show one job: its terms and how far it is."""
    from potnode.access import parse_hash, read_ledger
    from potnode.chain.reader import read_job
    from potnode.views import describe_job

    with read_ledger(settings(config, data_dir), rpc=rpc, contract=contract) as ledger:
        row = describe_job(ledger, read_job(ledger, parse_hash(identity, "a job")))
    width = max(map(len, row))
    show(row, as_json=as_json, text="\n".join(f"{k:<{width}}  {v}" for k, v in row.items()))


@job.command("settle")
def job_settle(
    identity: JobId,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Pay out a job's recorded steps whose challenge window has passed; anyone may."""
    from potnode.access import parse_hash, writing_chain
    from potnode.settlement import settle

    with writing_chain(settings(config, data_dir)) as chain:
        settled, early = settle(chain.ledger, chain.sender, parse_hash(identity, "a job"))
    show(
        {"settled": settled, "not_yet": early},
        as_json=as_json,
        text=f"{len(settled)} steps settled, {len(early)} still in their challenge window",
    )


@job.command("withdraw")
def job_withdraw(
    token: Annotated[
        str, typer.Option(help="ERC-20 token; default the chain's own coin.")
    ] = NATIVE_COIN,
    to: Annotated[str | None, typer.Option(help="Who gets it; default the operator.")] = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Withdraw what the contract owes this data directory's key."""
    from potnode.access import parse_address, writing_chain
    from potnode.settlement import withdraw

    with writing_chain(settings(config, data_dir)) as chain:
        target = chain.sender.address if to is None else parse_address(to, "--to")
        amount = withdraw(chain.ledger, chain.sender, parse_address(token, "--token"), target)
    show({"withdrawn": str(amount)}, as_json=as_json, text=f"{amount} withdrawn")


@commands.command()
def audit(
    identity: JobId,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    rpc: Rpc = None,
    contract: Contract = None,
    slow: Annotated[
        int, typer.Option(min=0, help="Steps the specification recomputes as well (seconds each).")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Rebuild a job from chain and dataset alone; exit status 1 if any number is wrong."""
    from potnode.access import catalog, feedback_folders, job_limits, parse_hash, read_ledger
    from potnode.audit.auditor import Auditor
    from potnode.cli.progress import StepProgress

    chosen = settings(config, data_dir)
    job_id = parse_hash(identity, "a job")
    with (
        read_ledger(chosen, rpc=rpc, contract=contract) as ledger,
        StepProgress("audit", enabled=not as_json) as progress,
    ):
        report = Auditor(
            ledger,
            catalog(chosen),
            device=chosen.engine.device,
            threads=chosen.engine.threads,
            slow=slow,
            parts=feedback_folders(chosen),
            limits=job_limits(chosen),
            on_step=progress.update,
        ).audit(job_id)
    show(report.document(), as_json=as_json, text=report.text())
    if not report.passed:
        raise typer.Exit(1)


@model.command("export")
def model_export(
    identity: JobId,
    file: Annotated[Path, typer.Argument(help="File to write (.safetensors).")],
    config: ConfigFile = None,
    data_dir: DataDir = None,
    rpc: Rpc = None,
    contract: Contract = None,
) -> None:
    """Rebuild a job's model from chain and dataset, check it, and write it."""
    from potnode.access import catalog, feedback_folders, job_limits, parse_hash, read_ledger
    from potnode.audit.auditor import Auditor
    from potnode.audit.export import export_audited
    from potnode.cli.progress import StepProgress

    if not file.parent.is_dir():  # said before the minutes that a rebuild may take
        raise NotADirectoryError(ENOTDIR, "there is no such folder to write to", str(file.parent))
    chosen = settings(config, data_dir)
    with (
        read_ledger(chosen, rpc=rpc, contract=contract) as ledger,
        StepProgress("rebuild", enabled=True) as progress,
    ):
        report = Auditor(
            ledger,
            catalog(chosen),
            device=chosen.engine.device,
            threads=chosen.engine.threads,
            parts=feedback_folders(chosen),
            limits=job_limits(chosen),
            on_step=progress.update,
        ).audit(parse_hash(identity, "a job"))
    if not report.passed:
        sys.stderr.write(report.text() + "\n")
        raise typer.Exit(1)
    export_audited(report, file)
    sys.stdout.write(f"{file}: step {report.steps}, state root {report.root_text}\n")
