"""Compares the marks of tests with the records: what one says of the other must be so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.matrix.ledger.book import FOLDER, RECORD
from muster.matrix.ledger.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from muster.matrix.ledger.book import Book, Entry


def drift(book: Book, marks: Mapping[str, AbstractSet[int]]) -> Iterator[Problem]:
    """Tell where collected tests and records differ; ``marks`` has each test's numbers.

    Tests that were not collected are no matter here: it may be that only some were asked for.
    """
    entries = {entry.record.id: entry for entry in book}
    named = book.tests()
    for test, numbers in marks.items():
        for number in numbers - named.get(test, set()):
            yield _unnamed(test, number, entries.get(number))
        for number in named.get(test, set()) - numbers:
            yield Problem(
                test,
                "",
                f"record {number} names this test, which lacks its mark",
                f"Add @pytest.mark.failure({number}) to it, or take it out of "
                f"{record_file(entries[number])}.",
            )


def missing(book: Book, collected: AbstractSet[str]) -> Iterator[Problem]:
    """Tell which tests of records are not among all that there are."""
    for entry in book:
        for test in entry.record.tests:
            if test.id not in collected:
                yield Problem(
                    record_file(entry),
                    "test",
                    f"{test.id} does not exist",
                    "Correct its id if it was renamed or moved; else write it.",
                )


def record_file(entry: Entry) -> str:
    """Return a record's path in the project."""
    return f"{FOLDER}/{entry.folder.name}/{RECORD}"


def _unnamed(test: str, number: int, entry: Entry | None) -> Problem:
    if entry is None:
        return Problem(
            test,
            "",
            f"it is marked with failure {number!r}, which has no record",
            "Correct the number, or write the record: `muster failures new`.",
        )
    return Problem(
        test,
        "",
        f"it is marked with failure {number}, whose record does not name it",
        f"Add it as a [[test]] of {record_file(entry)}, or remove the mark.",
    )
