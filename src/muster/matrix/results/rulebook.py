"""All rules: ``[tool.muster.alerts]`` in pyproject.toml, and ``[alerts]`` in files of ``envs/``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import ValidationError

from muster.errors import InvalidInput
from muster.matrix.environments.reading import read_environment
from muster.matrix.results.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Rulebook:
    """The project's rules, and those of environments that have some of their own."""

    project: Rules = field(default_factory=Rules)
    environments: Mapping[str, Rules] = field(default_factory=dict)

    def of(self, environment: str) -> Rules:
        """Return the rules for runs in that environment."""
        return self.environments.get(environment, self.project)


def load(pyproject: Path) -> Rulebook:
    """Read that file, and the environments in ``envs/`` beside it. Raises ``InvalidInput``.

    Without any rules the defaults hold.
    """
    project = _of_project(pyproject)
    folder = pyproject.parent / "envs"
    own = {file.stem: read_environment(folder, file.stem).alerts for file in folder.glob("*.toml")}
    return Rulebook(project, {name: project.overridden(by=rules) for name, rules in own.items()})


def _of_project(pyproject: Path) -> Rules:
    try:
        document = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Rules()
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(str(pyproject), f"is no TOML ({error})", "Mend it.") from None
    try:
        return Rules.model_validate(document.get("tool", {}).get("muster", {}).get("alerts", {}))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in ("tool.muster.alerts", *first["loc"]))
        raise InvalidInput(
            f"{pyproject}, {name}", f"is not right ({first['msg']})", "See docs/results.md."
        ) from None
