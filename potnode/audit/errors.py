"""Why an audit could not be made; what an audit finds is a report, not an error."""

from __future__ import annotations


class AuditError(Exception):
    """Root of the errors of `potnode.audit`."""
