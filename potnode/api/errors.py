"""What a request gets instead of an answer; every exception of `potnode.api` is an ApiError.

    ApiError
    ├── NotFound         404: no such job, step, share, or nothing to show of it yet
    ├── WrongMethod      405: the address exists, for another method
    └── BodyTooLarge     413: more bytes than a request may have

`detail` is shown to the client: it names what was asked for and what to do, nothing else.
"""

from __future__ import annotations


class ApiError(Exception):
    """Root of the errors of this package. `status` is the HTTP status it is answered with."""

    status = 500

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NotFound(ApiError):
    """What was asked for is not there."""

    status = 404


class WrongMethod(ApiError):
    """The address answers `allowed` only."""

    status = 405

    def __init__(self, detail: str, allowed: str) -> None:
        super().__init__(detail)
        self.allowed = allowed


class BodyTooLarge(ApiError):
    """A request body is longer than `limit` bytes."""

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"a request here has at most {limit} bytes: send less at once")
