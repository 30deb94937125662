"""What a simulation came to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Sequence


class Spread(BaseModel):
    """How long something took, in seconds; ``count`` is how often it was seen."""

    model_config = ConfigDict(frozen=True)

    count: int
    p50_s: float
    p95_s: float
    max_s: float


class Report(BaseModel):
    """How a simulation went.

    ``jobs`` counts by outcome, those that reached none as ``unfinished``. A ``wait`` is from a
    job's submission to its first start, a ``recovery`` from a worker's death until a job that it
    held runs again.
    """

    model_config = ConfigDict(frozen=True)

    machines: int
    workers: int
    seconds: float
    jobs: dict[str, int]
    running_at_most: int
    wait: Spread
    recovery: Spread
    machines_left: int
    machines_died: int
    committed_twice: int
    stopped: bool

    @property
    def good(self) -> bool:
        """Whether every job reached an end, and only one."""
        return not self.jobs["unfinished"] and not self.committed_twice


def spread(milliseconds: Sequence[int]) -> Spread:
    """Return how long things took; all 0 when there are none."""
    ordered = sorted(milliseconds)
    return Spread(
        count=len(ordered),
        p50_s=percentile(ordered, 0.5) / 1000,
        p95_s=percentile(ordered, 0.95) / 1000,
        max_s=percentile(ordered, 1) / 1000,
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of the values that so large a share of them do not exceed; 0 if none."""
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)] if ordered else 0
