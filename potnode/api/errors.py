"""What a request gets instead of an answer; every exception of `potnode.api` is an ApiError.

    ApiError
    ├── Unauthorized     401: writing needs a token
    ├── Forbidden        403: this request may not write
    ├── NotFound         404: no such job, step, share, or nothing to show of it yet
    ├── WrongMethod      405: the address exists, for another method
    ├── Conflict         409: the request does not fit what is there
    ├── BodyTooLarge     413: more bytes than a request may have
    └── WrongMediaType   415: a body of another kind

`detail` is shown to the client: it names what was asked for and what to do, nothing else.
"""

from __future__ import annotations


class ApiError(Exception):
    """Root of the errors of this package. `status` is the HTTP status it is answered with."""

    status = 500

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    @property
    def headers(self) -> dict[str, str] | None:
        """Of the answer, beside the usual ones."""
        return None


class Unauthorized(ApiError):
    """Writing needs a token, and the right one."""

    status = 401

    @property
    def headers(self) -> dict[str, str]:
        """What is asked for (RFC 9110 section 11.6.1)."""
        return {"WWW-Authenticate": "Bearer"}


class Forbidden(ApiError):
    """This request may not write."""

    status = 403


class NotFound(ApiError):
    """What was asked for is not there."""

    status = 404


class WrongMethod(ApiError):
    """The address answers `allowed` only."""

    status = 405

    def __init__(self, detail: str, allowed: str) -> None:
        super().__init__(detail)
        self.allowed = allowed

    @property
    def headers(self) -> dict[str, str]:
        """Which method it is (RFC 9110 section 15.5.6)."""
        return {"Allow": self.allowed}


class Conflict(ApiError):
    """The request is sound, but does not fit what it is about, as that is now."""

    status = 409


class BodyTooLarge(ApiError):
    """A request body is longer than `limit` bytes."""

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"a request here has at most {limit} bytes: send less at once")


class WrongMediaType(ApiError):
    """The body is of a kind that is not read here."""

    status = 415
