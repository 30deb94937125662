"""Which models jobs wait for, so that machines can fetch those that are nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, TypeAdapter

from muster.jobs.model import Requirements
from muster.jobs.scripts import Script

if TYPE_CHECKING:
    from muster.jobs.queue import Queue

DEMAND = Script("muster.jobs", "demand")

LIVE_S = 30.0
"""Workers speak for their capabilities every 20 s; after so much silence nobody counts on them."""

GOOD_FOR_S = 1.0


class Need(Requirements):
    """What a class of jobs needs, with its service; what a newer Muster adds is not understood."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    service: str


class Demand(BaseModel):
    """``waiting`` jobs need models; ``served`` if a live worker has them and could run the jobs.

    ``age_ms`` is for how long such jobs have been waiting at every look.
    """

    model_config = ConfigDict(frozen=True)

    need: Need
    waiting: int
    age_ms: float
    served: bool


_DEMANDS = TypeAdapter(list[Demand])


async def read_demand(queue: Queue) -> list[Demand]:
    """Return what is waited for. Any number of machines may ask every second."""
    args = (round(LIVE_S * 1000), round(GOOD_FOR_S * 1000))
    return _DEMANDS.validate_json(await DEMAND(queue.redis, queue.root, *args))
