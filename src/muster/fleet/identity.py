"""Who a machine and its workers are. Every worker has its machine, or does not start."""

from __future__ import annotations

import re

from muster.errors import InvalidInput

MAX_LENGTH = 48
_VALID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_LENGTH - 1}}}")
_REMEDY = (
    f"Use 1 to {MAX_LENGTH} letters, digits, dots, dashes or underscores, "
    "beginning with a letter or digit, for example gpu-host-1."
)


def validate_machine_id(value: str, field: str = "MACHINE_ID") -> str:
    """Return ``value`` if it names a machine.

    Raises ``InvalidInput``, for ``field``, if it is empty, malformed or the word ``unknown``,
    which is what a machine without a name used to be called.
    """
    problem = _problem(value)
    if problem:
        raise InvalidInput(field, problem, _REMEDY, value=value)
    return value


def worker_id(machine_id: str, index: int) -> str:
    """Return the id of a machine's worker of that index.

    It is made from the machine, never taken apart again: a worker says itself whose it is.
    """
    return f"{machine_id}-worker-{index}"


def _problem(value: str) -> str | None:
    if not value:
        return "is empty"
    if value.lower() == "unknown":
        return "names no machine"
    if len(value) > MAX_LENGTH:
        return f"is too long ({len(value)} characters)"
    if not _VALID.fullmatch(value):
        return "has a character that is not allowed, or begins with one"
    return None
