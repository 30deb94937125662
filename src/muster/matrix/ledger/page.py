"""The living test plan: ``docs/failures.md``, written from the records and the last results."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from muster.matrix.ledger.record import TIERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from muster.matrix.ledger.book import Book, Entry
    from muster.matrix.ledger.kept import About, KeptVerdict
    from muster.matrix.ledger.outcomes import Outcome
    from muster.matrix.ledger.record import Record

PAGE = Path("docs", "failures.md")
_FOUND = re.compile(r"<!--found-->(.*?)<!--/-->")
_HEAD = """\
# Failures, and what catches them now

`muster failures render` writes this page from the records in `failures/` and from the last results
in `results/`; `nox -s ledger` sees that it says what the records say. The
[failure process](failure-process.md) tells how a record comes to be, and `nox -s prove -- 3` puts
the causes of failure 3 back, one at a time, and sees the tests catch each.
"""


def render(
    book: Book,
    outcomes: Mapping[str, Outcome] | None = None,
    verdicts: Iterable[KeptVerdict] = (),
    *,
    earlier: str = "",
) -> str:
    """Write the page. What results say is marked in it, so that it can be told from the rest.

    Where these results say nothing, it says what the ``earlier`` page said.
    """
    given = list(verdicts)
    sections = (section(entry, outcomes, given) for entry in book)
    return _carry_over("\n".join([_HEAD, *_overview(book), *sections]), earlier)


def section(
    entry: Entry,
    outcomes: Mapping[str, Outcome] | None = None,
    verdicts: Iterable[KeptVerdict] = (),
) -> str:
    """Write what there is to say of one failure."""
    proved = {each.about: each for each in verdicts}
    return "\n".join(_section(entry, outcomes or {}, proved))


def without_marks(text: str) -> str:
    """Leave out the marks around what results say."""
    return _FOUND.sub(r"\1", text)


def differs(book: Book) -> bool:
    """Tell whether the project's page and its records differ, whatever results say."""
    page = book.root / PAGE
    written = page.read_text(encoding="utf-8") if page.is_file() else ""
    return _without_results(written) != _without_results(render(book))


def _without_results(page: str) -> str:
    return _FOUND.sub("", page)


def _carry_over(page: str, earlier: str) -> str:
    said = {row: _FOUND.search(row[1]) for row in _rows(earlier)}
    known = {_blank(row): found[0] for row, found in said.items() if found}
    lines = []
    for row in _rows(page):
        found = _FOUND.search(row[1])
        before = known.get(_blank(row)) if found and not found[1] else None
        lines.append(row[1].replace(_found(""), before) if before else row[1])
    return "\n".join(lines)


def _rows(page: str) -> Iterator[tuple[str, str]]:
    """Return each line with the heading that it stands under."""
    heading = ""
    for line in page.split("\n"):
        if line.startswith("## "):
            heading = line
        yield heading, line


def _blank(row: tuple[str, str]) -> tuple[str, str]:
    return row[0], _without_results(row[1])


def _overview(book: Book) -> Iterator[str]:
    rows = []
    for entry in book:
        record = entry.record
        tests = ", ".join(f"{len(record.at(t))} {t}" for t in TIERS if record.at(t))
        link = f"[{record.title}](#{_anchor(record)})"
        rows.append((str(record.id), link, record.state, tests, str(len(record.faults))))
    yield from _table(("", "failure", "state", "tests", "faults"), rows)


def _section(
    entry: Entry,
    outcomes: Mapping[str, Outcome],
    proved: Mapping[About, KeptVerdict],
) -> Iterator[str]:
    record = entry.record
    yield f"## {_heading(record)}\n"
    yield from _facts(record)
    if entry.story:
        yield f"{_deeper(entry.story)}\n"
    yield "### Root causes\n"
    for cause in record.causes:
        yield f"- **{cause.kind.capitalize()}** (`{cause.name}`): {cause.text}"
        if cause.no_fault:
            yield f"  No fault puts it back: {cause.no_fault}"
    yield from ("", "### Tests\n")
    tests = [test for tier in TIERS for test in record.at(tier)]
    yield from _table(
        ("tier", "test", "in the test plan", "last outcome"),
        [(t.tier, f"`{t.id}`", t.plan or "", _found(_outcome(outcomes.get(t.id)))) for t in tests],
    )
    yield "### Prevention measures\n"
    for measure in record.measures:
        done = "x" if measure.state == "implemented" else " "
        where = f" (`{measure.where}`)" if measure.where else ""
        yield f"- [{done}] {measure.text}{where}"
    yield from ("", "### Faults that put the causes back\n")
    rows = [
        (
            f"`{f.file}`",
            f.cause,
            f.text,
            tier,
            _found(_verdict(proved.get((record.id, f.file, tier)))),
        )
        for f in record.faults
        for tier in TIERS
        if tier in f.tiers
    ]
    yield from _table(("fault", "cause", "what it does", "tier", "last proof"), rows)


def _facts(record: Record) -> Iterator[str]:
    facts = [("Date", str(record.date)), ("Environment", record.environment)]
    facts += [("Impact", record.impact), ("Symptoms", "; ".join(record.symptoms))]
    state: str = record.state
    if record.since:
        state += f" since {record.since}"
    if record.reason:
        state += f": {record.reason}"
    if record.owner:
        state += f" ({record.owner})"
    for name, value in [*facts, ("State", state)]:
        yield f"- **{name}**: {value}"
    yield ""


def _outcome(outcome: Outcome | None) -> str:
    return f"{outcome.outcome}, {outcome.day}" if outcome else ""


def _verdict(verdict: KeptVerdict | None) -> str:
    if verdict is None:
        return ""
    caught = f", by {len(verdict.tests)}" if verdict.tests else ""
    reason = f" ({verdict.reason})" if verdict.reason else ""
    return f"{verdict.verdict}{caught}, {verdict.at.date()}{reason}"


def _found(text: str) -> str:
    """Mark what results say."""
    return f"<!--found-->{text}<!--/-->"


def _heading(record: Record) -> str:
    return f"{record.id}. {record.title}"


def _anchor(record: Record) -> str:
    """Return the name that a heading gets on a page, as GitHub forms it."""
    return re.sub(r"[^\w\- ]", "", _heading(record).lower()).replace(" ", "-")


def _deeper(story: str) -> str:
    """Make the story's headings lie below the failure's own."""
    return re.sub(r"^(#+ )", r"##\1", story, flags=re.MULTILINE)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        yield "None.\n"
        return
    for row in (head, ("---",) * len(head), *rows):
        yield f"| {' | '.join(cell.replace('|', '&#124;').replace(chr(10), ' ') for cell in row)} |"
    yield ""
