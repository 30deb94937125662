"""Payloads of jobs: from the command line, a file, stdin or the examples that come with Muster."""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

from muster.errors import InvalidInput

NUMBER = "$N"
"""A text that is just this becomes the job's number in its batch, from 0: a seed, for example."""


def read(argument: str | None) -> dict[str, Any]:
    """Return the payload that is given as JSON, ``@FILE`` or ``-``. Raises ``InvalidInput``."""
    if argument is None and sys.stdin.isatty():
        raise InvalidInput("PAYLOAD", "is missing", "Give JSON, @FILE or -, or use --example.")
    if argument is None or argument == "-":
        text = sys.stdin.read()
    elif argument.startswith("@"):
        text = _text(Path(argument[1:]))
    else:
        text = argument
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidInput(
            "PAYLOAD", f"is not JSON: {error}", "Give a JSON object, @FILE or -.", value=text
        ) from None
    if not isinstance(value, dict):
        raise InvalidInput(
            "PAYLOAD", "is not a JSON object", 'Give {"name": value, …}.', value=value
        )
    return value


def example(service: str) -> dict[str, Any]:
    """Return the example for a service. Raises ``InvalidInput`` when there is none."""
    folder = files("muster.cli") / "examples"
    ready = sorted(file.name.removesuffix(".json") for file in folder.iterdir())
    if service not in ready:
        raise InvalidInput(
            "SERVICE", "has no example", f"There is one for {', '.join(ready)}.", value=service
        )
    payload: dict[str, Any] = json.loads((folder / f"{service}.json").read_text(encoding="utf-8"))
    return payload


def numbered(value: Any, number: int) -> Any:
    """Return the payload of the job of that number."""
    if isinstance(value, dict):
        return {name: numbered(part, number) for name, part in value.items()}
    if isinstance(value, list):
        return [numbered(part, number) for part in value]
    return number if value == NUMBER else value


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            "PAYLOAD", f"cannot be read: {error}", "Give @ and the path of a JSON file."
        ) from None
