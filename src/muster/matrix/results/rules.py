"""The rules by which somebody is told of a problem."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat


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

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=_dashed)

    tier_fails: bool = True
    targets: bool = True
    flaky_within: int = Field(default=30, ge=2)
    drop: PositiveFloat = 0.2
    median_of: int = Field(default=10, ge=1)
    median_needs: int = Field(default=4, ge=1)
    bounds: dict[str, PositiveFloat] = {}
    dirty: bool = False

    def bound(self, name: str) -> float:
        """Return by how much that benchmark may be worse."""
        return self.bounds.get(name, self.drop)

    def overridden(self, by: Rules) -> Rules:
        """Return these rules with those in place that were set in the others, bound by bound."""
        update = {name: getattr(by, name) for name in by.model_fields_set}
        return self.model_copy(update={**update, "bounds": self.bounds | by.bounds})
