"""The command line of a service: a template that each GPU's service fills with its own values."""

from __future__ import annotations

import shlex
import sys
from string import Formatter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACEHOLDERS = frozenset(
    {
        *("python", "port", "gpu", "output_dir", "temp_dir", "input_dir", "user_dir"),
        *("models_dir", "model_paths"),
    }
)


def parse(template: str) -> tuple[str, ...]:
    """Split a template into arguments as a shell would, and check its placeholders.

    Raises ``ValueError`` if it is empty, cannot be split, or has a placeholder that is not one of
    ``PLACEHOLDERS``; or if it lacks ``{port}``, without which all services would share one.
    """
    arguments = tuple(shlex.split(template))
    if not arguments:
        raise ValueError("the command is empty")
    names = {name for argument in arguments for name in _placeholders(argument)}
    if unknown := sorted(names - PLACEHOLDERS):
        raise ValueError(f"the placeholder {{{unknown[0]}}} is not known")
    if "port" not in names:
        raise ValueError("the placeholder {port} is missing")
    return arguments


def fill(arguments: tuple[str, ...], values: Mapping[str, object]) -> tuple[str, ...]:
    """Return the command line of one service. ``{python}`` is the interpreter that runs Muster."""
    return tuple(argument.format(python=sys.executable, **values) for argument in arguments)


def _placeholders(argument: str) -> list[str]:
    names = []
    for _, name, spec, conversion in Formatter().parse(argument):
        if name is None:
            continue
        if spec or conversion:
            raise ValueError(f"the placeholder {{{name}}} must stand alone between its braces")
        names.append(name)
    return names
