"""Extensions: what `mining.configure` asks for and what is agreed (BIP310).

The reply holds keys for the extensions that were asked for and no others: Whatsminer reconnects for
ever over a key it did not ask for, and cgminer logs each one as an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from stratum.errors import Reject, RejectCode
from stratum.jobs import VERSION_MASK
from stratum.wishes import difficulty_of

_MALFORMED = Reject(RejectCode.OTHER, "Configure takes a list of extensions")
_MASK = re.compile(r"[0-9a-fA-F]{1,8}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Agreement:
    """The answer to one configure, and what it changes.

    result: the reply. version_mask: version bits the miner may roll from now on, 0 where it may
    roll none, None where it did not ask. minimum_difficulty: the floor it asked for, 0 where it
    asked for none, None where it did not ask.
    """

    result: dict[str, object]
    version_mask: int | None
    minimum_difficulty: int | float | None


def agree(params: list[Any]) -> Agreement | Reject:
    """Answer the params of a `mining.configure`: a list of names, and an object of their options.

    A miner's `version-rolling.min-bit-count` is not looked at: it gets whatever bits it may have,
    and pools that refuse too few of them lose S9s that work with none.
    """
    names = params[0] if params else []
    options = params[1] if len(params) > 1 else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return _MALFORMED
    if not isinstance(options, dict):
        options = {}
    result: dict[str, object] = {}
    mask: int | None = None
    minimum: int | float | None = None
    for name in dict.fromkeys(names):  # a line has room for the same one a thousand times
        if name == "version-rolling":
            mask = _asked_mask(options) & VERSION_MASK
            result[name] = mask != 0
            if mask:
                result["version-rolling.mask"] = f"{mask:08x}"
        elif name == "minimum-difficulty":
            minimum = difficulty_of(options.get("minimum-difficulty.value")) or 0
            result[name] = minimum > 0
        else:  # "info" asks for nothing; we never send the set_extranonce of "subscribe-extranonce"
            result[name] = name == "info"
    return Agreement(result, mask, minimum)


def _asked_mask(options: dict[str, Any]) -> int:
    """Return the mask asked for: everything where none is named, 0 where it is no mask."""
    asked = options.get("version-rolling.mask", f"{VERSION_MASK:08x}")
    return int(asked, 16) if isinstance(asked, str) and _MASK.fullmatch(asked) else 0
