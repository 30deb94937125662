"""Records are read strictly; what is wrong is said with its file, its field and the remedy."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from muster.errors import InvalidInput, NotFound
from muster.matrix.ledger.book import find_root, parse, read_book
from muster.matrix.ledger.problems import BadLedger

if TYPE_CHECKING:
    from conftest import Write

FAULT = """
[[fault]]
file = "it.patch"
cause = "{cause}"
text = "Puts it back."
tiers = {tiers}
signature = "{signature}"
tests = {tests}
"""


def fault(
    *, cause: str = "the-cause", tiers: str = '["unit"]', signature: str = "lost", tests: str = "[]"
) -> str:
    return FAULT.format(cause=cause, tiers=tiers, signature=signature, tests=tests)


def test_reads_what_is_written(root: Path, write: Write) -> None:
    write(2, head='state = "deprecated"\nreason = "gone"\nsince = 2026-02-01', tests=())
    path = write(1, body=fault())

    first, second = read_book(root)

    assert (first.record.title, first.record.date) == ("Failure 1", dt.date(2026, 1, 2))
    assert first.story == "It broke."
    assert [test.id for test in first.record.at("unit")] == ["tests/unit/test_it.py::test_it"]
    assert first.patch(first.record.faults[0]) == path.with_name("it.patch")
    assert second.record.state == "deprecated"
    assert read_book(root).entry(2) == second


def test_a_time_keeps_its_zone(root: Path, write: Write) -> None:
    path = write()
    path.write_text(path.read_text().replace("2026-01-02", "2026-01-02T03:04:05+01:00"))

    [entry] = read_book(root)

    zone = dt.timezone(dt.timedelta(hours=1))
    assert entry.record.date == dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=zone)


def test_a_failure_without_a_record_is_told(root: Path) -> None:
    with pytest.raises(NotFound, match="failure 3 has no record"):
        read_book(root).entry(3)


@pytest.mark.parametrize(
    ("old", "new", "field", "problem"),
    [
        ('title = "Failure 1"\n', "", "title", "is missing. Add it"),
        ('title = "', 'titel = "x"\ntitle = "', "titel", "is no field of a record. Remove it"),
        ("id = 1", 'id = "1"', "id", "'1': input should be a valid integer"),
        ("id = 1", "id = 2", "id", "2 is not the folder's number. Write id = 1"),
        ("2026-01-02", "2026-01-02T03:04:05", "date", "a time needs its zone. Write 2025-"),
        ("2026-01-02", '"soon"', "date", "'soon': input should be a valid date"),
        ('"immediate"', '"sudden"', "cause[1].kind", "'sudden': input should be 'immediate'"),
        ('"the-cause"', '"The cause"', "cause[1].name", "'The cause': string should match"),
        ('tier = "unit"', 'tier = "load"', "test[1]", "does not lie in tests/load"),
        ("::test_it", "::test_it[1]", "test[1].id", "this is no test. Write tests/TIER/"),
        ("title =", 'state = "uncovered"\ntitle =', "", "also needs reason, owner, since"),
        ("title =", 'state = "deprecated"\ntitle =', "", "also needs reason, since. Add them"),
    ],
)
def test_a_wrong_field_is_told(
    root: Path, write: Write, old: str, new: str, field: str, problem: str
) -> None:
    path = write()
    path.write_text(path.read_text().replace(old, new, 1))

    with pytest.raises(BadLedger) as refusal:
        read_book(root)

    assert any(
        each.file == "failures/0001-broken/record.md"
        and each.field == field
        and problem in f"{each.text}. {each.remedy}"
        for each in refusal.value.problems
    ), str(refusal.value)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (fault(cause="other"), "puts back 'other', which is no cause of this record"),
        (fault(tiers='["load"]'), "caught at tier 'load', where this record has no [[test]]"),
        (fault(tests='["tests/unit/test_it.py::test_x"]'), "test_x, which is no [[test]]"),
        (fault(signature="("), "this is no regular expression"),
        (fault() + fault(), "fault file 'it.patch' is there twice. Keep one"),
        ('[[measure]]\ntext = "x"\nstate = "implemented"', "needs `where`"),
    ],
)
def test_parts_that_do_not_fit_are_told(root: Path, write: Write, body: str, problem: str) -> None:
    write(body=body)

    with pytest.raises(BadLedger) as refusal:
        read_book(root)

    assert problem in str(refusal.value)


def test_an_active_record_needs_a_test(root: Path, write: Write) -> None:
    write(tests=())

    with pytest.raises(BadLedger, match="an active record needs a"):
        read_book(root)


def test_a_number_is_used_once(root: Path, write: Write) -> None:
    write(1)
    write(1, folder="0001-other")

    with pytest.raises(BadLedger, match="0001-other: id: 1 is the number of 0001-broken already"):
        read_book(root)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("# A story", "has no front matter between two lines"),
        ("+++\nid = 1\n", "has no front matter between two lines"),
        ("+++\nid = 1\nx = ?\n+++\n", "is no TOML: Invalid value .at line 3"),
    ],
)
def test_a_file_that_is_no_record_is_told(root: Path, text: str, problem: str) -> None:
    folder = root / "failures" / "0001-broken"
    folder.mkdir()
    (folder / "record.md").write_text(text)

    with pytest.raises(BadLedger, match=problem):
        read_book(root)


def test_folders_that_hold_no_record_are_told_all_at_once(root: Path) -> None:
    for name in ("1-x", "0001-empty", "0002-latin"):
        (root / "failures" / name).mkdir()
    (root / "failures" / "0002-latin" / "record.md").write_bytes(b"+++\nid=\xe9")

    with pytest.raises(BadLedger) as refusal:
        read_book(root)

    said = str(refusal.value)
    assert "failures/1-x: is no name of a record" in said
    assert "failures/0001-empty/record.md: is not there" in said
    assert "failures/0002-latin/record.md: is not UTF-8" in said


def test_the_book_is_found_from_below(root: Path) -> None:
    inner = root / "src" / "deep"
    inner.mkdir(parents=True)

    assert find_root(inner) == root


def test_without_a_book_it_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(InvalidInput, match=f"^failures: is no folder in {tmp_path}, nor above it"):
        find_root()


def test_the_example_that_explains_records_is_one() -> None:
    explained = Path(__file__).parents[4] / "failures" / "README.md"
    [example] = re.findall(r"```toml\n(.*?)```", explained.read_text(), flags=re.DOTALL)

    record, _ = parse("README.md", example)

    assert (record.id, len(record.faults)) == (5, 1)
