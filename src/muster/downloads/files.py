"""Small files that others read at any moment: whole or not there."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def write_json(file: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object in one step, so that no reader and no crash sees half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            json.dump(value, out)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in a file; an empty one when there is no such file, or no object in it."""
    try:
        value = json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
