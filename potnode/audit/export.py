"""The model an audit rebuilt, as a file: what is exported has the recorded root, or nothing is."""

from __future__ import annotations

from pathlib import Path

from potnode.audit.errors import AuditError
from potnode.audit.report import AuditReport
from potnode.engine.export import Model, encode_model
from potnode.spec.manifest_json import decode_manifest


def export_audited(report: AuditReport, path: Path) -> None:
    """Write the rebuilt model as safetensors.

    Raises:
        AuditError: the audit did not pass, so there is no model to vouch for.
    """
    if not report.passed or report.state is None:
        raise AuditError(f"job {report.job_id.hex()} did not pass its audit: nothing is exported")
    model = Model(report.job_id, report.steps, decode_manifest(report.manifest), report.state)
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(encode_model(model))
    temporary.replace(path)
