"""The living test plan, and what is kept of proofs."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from muster.errors import InvalidInput
from muster.matrix.ledger.book import read_book
from muster.matrix.ledger.kept import KeptVerdict, keep, read_verdicts
from muster.matrix.ledger.outcomes import Outcome
from muster.matrix.ledger.page import render, without_marks

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Write

TEST_ID = "tests/unit/test_it.py::test_it"
BODY = """
[[measure]]
text = "Mended."
state = "implemented"
where = "src/it.py"

[[measure]]
text = "Watched."
state = "planned"

[[fault]]
file = "it.patch"
cause = "the-cause"
text = "Forgets a | job."
tiers = ["unit"]
signature = "lost"
"""
NOON = dt.datetime(2026, 3, 4, 12, tzinfo=dt.UTC)


def verdict(**changes: Any) -> KeptVerdict:
    fields = {
        "failure": 1,
        "fault": "it.patch",
        "tier": "unit",
        "verdict": "proved",
        "tests": [TEST_ID],
        "seconds": 1.5,
        "at": NOON,
        "revision": "abc",
    }
    return KeptVerdict.model_validate(fields | changes)


def test_says_all_that_records_and_results_say(root: Path, write: Write) -> None:
    write(body=BODY, cause='no_fault = "It is the host\'s."')
    outcomes = {TEST_ID: Outcome("passed", NOON.date())}

    page = without_marks(render(read_book(root), outcomes, [verdict()]))

    assert "| 1 | [Failure 1](#1-failure-1) | active | 1 unit | 1 |" in page
    for line in (
        "## 1. Failure 1",
        "- **Date**: 2026-01-02",
        "- **Impact**: Jobs were lost.",
        "It broke.",
        "- **Immediate** (`the-cause`): Something was wrong.",
        "  No fault puts it back: It is the host's.",
        f"| unit | `{TEST_ID}` |  | passed, 2026-03-04 |",
        "- [x] Mended. (`src/it.py`)",
        "- [ ] Watched.",
        "| `it.patch` | the-cause | Forgets a &#124; job. | unit | proved, by 1, 2026-03-04 |",
    ):
        assert line in page.splitlines()


def test_is_the_same_each_time_and_without_results_names_no_day(root: Path, write: Write) -> None:
    write(body=BODY)

    assert render(read_book(root)) == render(read_book(root))
    assert "2026-03" not in render(read_book(root))


def test_an_uncovered_failure_says_who_sees_to_it(root: Path, write: Write) -> None:
    head = 'state = "uncovered"\nreason = "new"\nowner = "kim"\nsince = 2026-01-03'
    write(head=head, tests=())

    page = render(read_book(root))

    assert "- **State**: uncovered since 2026-01-03: new (kim)" in page
    assert "### Tests\n\nNone.\n" in page


def test_earlier_results_stay_until_there_are_newer(root: Path, write: Write) -> None:
    # Given two failures with a test of the same name, and a page with an outcome of the first
    write(1, body=BODY)
    write(2)
    book = read_book(root)
    proof = verdict(verdict="not proved", tests=[], reason="nothing failed")
    earlier = render(book, {TEST_ID: Outcome("failed", NOON.date())}, [proof])

    # When it is rendered without results, and with newer ones
    same = render(book, earlier=earlier)
    newer = render(book, {TEST_ID: Outcome("passed", NOON.date())}, earlier=earlier)

    # Then nothing is forgotten
    assert same == earlier
    assert "not proved, 2026-03-04 (nothing failed)" in newer
    assert "failed, 2026-03-04" not in newer
    assert newer.count("passed, 2026-03-04") == 2


def test_a_newer_verdict_takes_the_older_ones_place(tmp_path: Path) -> None:
    path = tmp_path / "results" / "proofs.json"
    keep(path, [verdict(), verdict(failure=2)])

    keep(path, [verdict(verdict="not proved"), verdict(tier="system")])

    assert [(v.failure, v.tier, v.verdict) for v in read_verdicts(path)] == [
        (1, "system", "proved"),
        (1, "unit", "not proved"),
        (2, "unit", "proved"),
    ]


def test_without_a_file_nothing_was_proved(tmp_path: Path) -> None:
    assert read_verdicts(tmp_path / "proofs.json") == []


def test_a_file_of_other_content_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "proofs.json"
    path.write_text('[{"failure": "x"}]')

    with pytest.raises(InvalidInput, match="Remove it, and prove again"):
        read_verdicts(path)
