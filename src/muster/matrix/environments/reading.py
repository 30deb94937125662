"""Reads an environment's file. Nothing of it is taken for granted."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from pydantic import ValidationError

from muster.client.problem import field_problems
from muster.errors import InvalidInput
from muster.matrix.environments.model import Environment

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT = "local"


def read_environment(folder: Path, name: str) -> Environment:
    """Return the environment ``name`` of a folder ``envs/``.

    Raises ``InvalidInput`` that says which file, which entry, and what is wrong with it.
    """
    known = sorted(path.stem for path in folder.glob("*.toml"))
    if name not in known:
        there = ", ".join(known) or "none at all"
        raise InvalidInput(
            "--env or MUSTER_ENV",
            "is no environment",
            f"Those in {folder} are: {there}.",
            value=name,
        )
    file = folder / f"{name}.toml"
    try:
        environment = Environment.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = field_problems(error.errors(include_url=False))[0]
        raise InvalidInput(str(file), f"is refused: {first}", "Correct it.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(str(file), f"is not TOML: {error}", "Correct it.") from None
    if environment.name != name:
        raise InvalidInput(
            str(file), f"says that it is {environment.name!r}", "File and name must agree."
        )
    payload = folder / environment.canary.payload
    if not payload.is_file():
        raise InvalidInput(
            str(file), f"names a canary's payload that is not there ({payload})", "Correct it."
        )
    canary = environment.canary.model_copy(update={"payload": payload})
    return environment.model_copy(update={"canary": canary})
