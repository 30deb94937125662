"""The rules by which somebody is told: ``[tool.muster.alerts]`` in pyproject.toml."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from muster.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path


def _dashed(name: str) -> str:
    return name.replace("_", "-")


class Rules(BaseModel):
    """What is a problem. Runs of a part of the tests are never judged.

    ``flaky_within`` is in how many of a session's newest runs a test may not both pass and fail at
    one revision. ``drop`` is by how much a benchmark's ratio to its control may be worse than the
    median of the last ``median_of`` runs, as a fraction; ``bounds`` has others for some of them by
    name. There is no median of fewer than ``median_needs``. ``dirty`` judges runs of changed trees
    too.
    """

    model_config = ConfigDict(extra="forbid", alias_generator=_dashed)

    tier_fails: bool = True
    targets: bool = True
    flaky_within: int = Field(default=30, ge=2)
    drop: float = Field(default=0.2, gt=0)
    median_of: int = Field(default=10, ge=1)
    median_needs: int = Field(default=4, ge=1)
    bounds: dict[str, float] = {}
    dirty: bool = False

    def bound(self, name: str) -> float:
        """Return by how much that benchmark may be worse."""
        return self.bounds.get(name, self.drop)


def load(pyproject: Path) -> Rules:
    """Read the rules; without any, the defaults hold. Raises ``InvalidInput``."""
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
