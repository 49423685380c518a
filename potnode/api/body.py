"""Request bodies that are read as they come, and no longer than they may be."""

from __future__ import annotations

from fastapi import Request

from potnode.api.errors import BodyTooLarge, WrongMediaType

# What `curl -d` says of any body, and what those say who say nothing.
_JSON_TYPES = ("application/json", "application/x-www-form-urlencoded", "")


async def limited_json(request: Request, limit: int) -> bytes:
    """The body of JSON, as it came.

    Raises:
        WrongMediaType: it is said to be of another kind. BodyTooLarge: see `limited_body`.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _JSON_TYPES:
        raise WrongMediaType("send JSON: as application/json, or as curl -d does")
    return await limited_body(request, limit)


async def limited_body(request: Request, limit: int) -> bytes:
    """The body; BodyTooLarge as soon as it is known to have more than `limit` bytes."""
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > limit:
        raise BodyTooLarge(limit)
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise BodyTooLarge(limit)
    return bytes(body)
