"""Which machines or workers a page shows, and in which order: one rule for stream and lists."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from muster.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from muster.server.monitor.fold import Fleet
    from muster.server.monitor.rows import Row

TROUBLE_FIRST = ("offline", "degraded", "draining", "starting", "busy", "idle", "ready")
SORTS = ("id", "state", "load", "started")


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for. ``sort`` with ``-`` in front is the other way round."""

    q: str = ""
    states: tuple[str, ...] = ()
    sort: str = "id"

    def __post_init__(self) -> None:
        if self.sort.removeprefix("-") not in SORTS:
            raise InvalidInput(
                "sort",
                "is not known",
                f"Use one of {', '.join(SORTS)}, with - in front for the other way round.",
                value=self.sort,
            )


@dataclass(frozen=True, slots=True)
class Facts:
    """What a selection looks at. ``text`` is in lower case."""

    id: str
    state: str
    text: str
    load: int
    started: int


def machine_facts(name: str, row: Row, workers: Sequence[Row], jobs: Sequence[str]) -> Facts:
    """Return the facts of a machine with its workers and the jobs that run on it."""
    words = [name, row["host"], *_release(row), *row["models"]]
    for worker in workers:
        words += [worker["service"], *worker["models"], *_labels(worker)]
    return _facts(name, row, [*words, *jobs], len(jobs))


def worker_facts(name: str, row: Row, jobs: Sequence[str]) -> Facts:
    """Return the facts of a worker with the jobs that it holds."""
    words = [name, row["service"], *_release(row), *row["models"], *_labels(row)]
    return _facts(name, row, [*words, *jobs], len(jobs))


def fleet_facts(fleet: Fleet) -> Iterator[Facts]:
    """Give the facts of all machines."""
    for name, row in fleet.machines.shown.items():
        workers = fleet.workers_of.get(name, ())
        jobs = [job for worker in workers for job in fleet.jobs_of.get(worker, ())]
        yield machine_facts(name, row, [fleet.workers.shown[worker] for worker in workers], jobs)


def select(query: Query, facts: Iterable[Facts]) -> list[str]:
    """Return the ids of what is found, in order. Equals stand in the order of their ids."""
    words = query.q.lower().split()
    found = [
        fact
        for fact in facts
        if (not query.states or fact.state in query.states)
        and all(word in fact.text for word in words)
    ]
    found.sort(key=lambda fact: natural(fact.id))
    key = query.sort.removeprefix("-")
    backwards = query.sort.startswith("-")
    if key == "id":
        return [fact.id for fact in (reversed(found) if backwards else found)]
    found.sort(key=lambda fact: _order(key, fact), reverse=backwards)
    return [fact.id for fact in found]


def page_of(ids: Sequence[str], page: int, size: int) -> tuple[list[str], int, int]:
    """Return a page of the ids, its number (the last one's if there are fewer), and how many."""
    pages = max(1, -(-len(ids) // size))
    page = min(page, pages)
    return list(ids[(page - 1) * size : page * size]), page, pages


def natural(name: str) -> tuple[list[Any], str]:
    """Return a key that sorts digits by their number: gpu-2 before gpu-10."""
    parts = re.split(r"(\d+)", name.lower())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _order(key: str, fact: Facts) -> int:
    if key == "state":
        return TROUBLE_FIRST.index(fact.state)
    return -fact.load if key == "load" else -fact.started


def _facts(name: str, row: Row, words: Iterable[str], load: int) -> Facts:
    text = "\n".join(words).lower()
    return Facts(name, row["state"], text, load, row.get("started_at", 0))


def _release(row: Row) -> list[str]:
    release = row.get("release")
    return [release["name"], release["version"], release["sha256"]] if release else []


def _labels(row: Row) -> list[str]:
    return [f"{name}={value}" for name, value in row["labels"].items()]
