"""The gate of the ledger: records, tests, measures and faults agree, or it says where not."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from muster.errors import MusterError
from muster.matrix.ledger import patches, places
from muster.matrix.ledger.book import FOLDER, RECORD, read_book
from muster.matrix.ledger.drift import drift, missing, record_file
from muster.matrix.ledger.page import PAGE, differs
from muster.matrix.ledger.problems import BadLedger, Problem
from muster.matrix.ledger.scaffold import STORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muster.matrix.ledger.book import Book, Entry
    from muster.matrix.ledger.record import Fault

TESTS = "tests"
TIME_LIMIT_S = 300


class CensusFailed(MusterError):
    """The tests cannot be collected."""


def check(root: Path) -> list[Problem]:
    """Return all that is wrong with the ledger of a project.

    Raises ``CensusFailed`` with pytest's words if the tests cannot be collected.
    """
    try:
        book = read_book(root)
    except BadLedger as error:
        return error.problems
    marks = take_census(root)
    problems = [
        *_removed(root),
        *missing(book, marks.keys()),
        *drift(book, marks),
        *(problem for entry in book for problem in _of_entry(entry, root)),
        *_page(book),
    ]
    return sorted(problems)


def take_census(root: Path) -> dict[str, set[int]]:
    """Collect all tests of a project; return the failures that each is marked with."""
    if not (root / TESTS).is_dir():
        return {}
    with tempfile.TemporaryDirectory() as folder:
        census = Path(folder, "census.json")
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
        asked = subprocess.run(
            [*command, "--census", str(census), TESTS],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
        if asked.returncode or not census.exists():
            said = (asked.stdout + asked.stderr).strip().splitlines()[-40:]
            raise CensusFailed("\n".join(["the tests cannot be collected:", *said]))
        marks: dict[str, list[int]] = json.loads(census.read_text())
        return {test: set(numbers) for test, numbers in marks.items()}


def _removed(root: Path) -> Iterator[Problem]:
    """See that no record went, for its number could be used again."""
    for folder in patches.removed(root):
        yield Problem(
            f"{FOLDER}/{folder}/{RECORD}",
            "",
            "was removed",
            f"Bring it back (`git log -- {FOLDER}/{folder}` shows when it went), and set its state "
            "to 'deprecated'. Its number is never used again.",
        )


def _of_entry(entry: Entry, root: Path) -> Iterator[Problem]:
    record = entry.record
    if entry.story in {"", STORY}:
        yield Problem(record_file(entry), "", "tells no story", "Tell it below the front matter.")
    for place, measure in enumerate(record.measures, start=1):
        if measure.where and (trouble := places.trouble_with(measure.where, root)):
            yield Problem(
                record_file(entry),
                f"measure[{place}].where",
                trouble,
                "Say where it is now; or set its state to 'planned', if it is gone.",
            )
    for fault in record.faults:
        yield from _of_fault(entry, fault, root)
    named = {fault.file for fault in record.faults}
    for patch in sorted(entry.folder.glob("*.patch")):
        if patch.name not in named:
            yield Problem(
                f"{FOLDER}/{entry.folder.name}/{patch.name}",
                "",
                "is no fault of the record beside it",
                "Add a [[fault]] for it, or remove it.",
            )
    if record.state == "active":
        yield from _unproved(entry)


def _of_fault(entry: Entry, fault: Fault, root: Path) -> Iterator[Problem]:
    patch = entry.patch(fault)
    file = f"{FOLDER}/{entry.folder.name}/{fault.file}"
    if not patch.is_file():
        yield Problem(
            record_file(entry), "fault.file", f"{file} does not exist", "Write it: see `git diff`."
        )
    elif trouble := patches.trouble_with(patch, root):
        yield Problem(
            file,
            "",
            f"has rotted: it does not apply ({trouble})",
            "Put the cause back into the code as it is now, and save `git diff` there.",
        )


def _unproved(entry: Entry) -> Iterator[Problem]:
    """Each cause is put back by a fault, or says why it cannot be."""
    put_back = {fault.cause for fault in entry.record.faults}
    for cause in entry.record.causes:
        if cause.name not in put_back and cause.no_fault is None:
            yield Problem(
                record_file(entry),
                f"cause {cause.name!r}",
                "no fault puts it back, so that nothing proves that tests catch it",
                "Add a [[fault]], or say in `no_fault` why none can be.",
            )


def _page(book: Book) -> Iterator[Problem]:
    if differs(book):
        yield Problem(
            str(PAGE), "", "does not say what the records say", "Run `muster failures render`."
        )
