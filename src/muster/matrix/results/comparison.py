"""Two runs compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from muster.matrix.results.store import FAILED, RunRow
from muster.matrix.results.trends import worse_by

if TYPE_CHECKING:
    from muster.matrix.results.store import Store, TestRow

SLOWER_BY_S, SLOWER_TIMES = 0.5, 1.5
"""A test is slower when it takes both so much and so many times longer."""


class Slower(BaseModel):
    """A test that takes longer."""

    test: str
    before_s: float
    after_s: float


class Moved(BaseModel):
    """A measure of both runs. ``worse_by`` compares ratios to controls, where both have one."""

    name: str
    unit: str
    before: float
    after: float
    worse_by: float


class Compared(BaseModel):
    """What is different in the later run."""

    before: RunRow
    after: RunRow
    fails_now: list[str]
    fails_no_more: list[str]
    added: list[str]
    gone: list[str]
    slower: list[Slower]
    measures: list[Moved]

    def text(self) -> str:
        """Return it for people."""
        parts = [
            f"{self.before.id} ({self.before.revision[:10]}) -> "
            f"{self.after.id} ({self.after.revision[:10]}), {self.after.session}"
        ]
        for title, names in (
            ("Fails now", self.fails_now),
            ("Fails no more", self.fails_no_more),
            ("New", self.added),
            ("Gone", self.gone),
            ("Slower", [f"{s.before_s:.2f} -> {s.after_s:.2f} s  {s.test}" for s in self.slower]),
            ("Measures", [_moved(each) for each in self.measures]),
        ):
            if names:
                parts += [f"{title} ({len(names)}):", *(f"  {name}" for name in names)]
        return "\n".join(parts if len(parts) > 1 else [*parts, "No difference."])


def compare(store: Store, before: str, after: str) -> Compared:
    """Compare the runs of those ids or sessions. Raises ``NotFound``."""
    first, second = store.find(before), store.find(after)
    old = {test.test: test for test in store.tests([first.id])}
    new = {test.test: test for test in store.tests([second.id])}
    both = sorted(old.keys() & new.keys())
    return Compared(
        before=first,
        after=second,
        fails_now=[t for t in sorted(new) if _failed(new[t]) and not _failed(old.get(t))],
        fails_no_more=[t for t in both if _failed(old[t]) and not _failed(new[t])],
        added=sorted(new.keys() - old.keys()),
        gone=sorted(old.keys() - new.keys()),
        slower=[
            Slower(test=t, before_s=old[t].duration_s, after_s=new[t].duration_s)
            for t in both
            if _is_slower(old[t].duration_s, new[t].duration_s)
        ],
        measures=_moves(store, first, second),
    )


def _failed(test: TestRow | None) -> bool:
    return test is not None and test.outcome in FAILED


def _is_slower(before_s: float, after_s: float) -> bool:
    return after_s > before_s + SLOWER_BY_S and after_s > before_s * SLOWER_TIMES


def _moves(store: Store, first: RunRow, second: RunRow) -> list[Moved]:
    earlier = {row.measure.name: row.measure for row in store.measures([first.id])}
    moves = []
    for row in store.measures([second.id]):
        now, before = row.measure, earlier.get(row.measure.name)
        if before is None:
            continue
        if now.ratio is not None and before.ratio is not None:
            by = worse_by(now.ratio, before.ratio, now.better)
        else:
            by = worse_by(now.value, before.value, now.better)
        moves.append(
            Moved(name=now.name, unit=now.unit, before=before.value, after=now.value, worse_by=by)
        )
    return moves


def _moved(move: Moved) -> str:
    verdict = "worse" if move.worse_by > 0 else "better"
    return (
        f"{move.name}: {move.before:.4g} -> {move.after:.4g} {move.unit}, "
        f"{abs(move.worse_by):.1%} {verdict}"
    )
