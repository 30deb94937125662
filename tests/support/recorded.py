"""The recorded shapes of the systems at our borders, in ``tests/data``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

DATA = Path(__file__).parents[1] / "data"
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}


def recorded(system: str, version: str) -> dict[str, Any]:
    """Return what was recorded of a version of a system."""
    record: dict[str, Any] = json.loads((DATA / system / f"{version}.json").read_text())
    return record


def differences(message: Mapping[str, Any], shape: Mapping[str, str]) -> list[str]:
    """Return in what a message differs from a shape: fields that it lacks, and wrong types.

    A message may have more fields than the shape: the real ones have, too.
    """
    lacking = [f"lacks {name}" for name in shape if name not in message]
    wrong = [
        f"{name} is {message[name]!r}, not {kinds}"
        for name, kinds in shape.items()
        if name in message and not _is(message[name], kinds)
    ]
    return lacking + wrong


def _is(value: object, kinds: str) -> bool:
    allowed = [each for kind in kinds.split(" or ") for each in _TYPES[kind]]
    return any(type(value) is each for each in allowed)
