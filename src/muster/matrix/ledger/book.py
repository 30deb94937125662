"""The book of failures: all of ``failures/``, read and checked."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from muster.errors import InvalidInput, NotFound
from muster.matrix.ledger.problems import BadLedger, Problem
from muster.matrix.ledger.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_core import ErrorDetails

    from muster.matrix.ledger.record import Fault

FOLDER = "failures"
RECORD = "record.md"
FENCE = "+++"
NAME = re.compile(r"(\d{4})-[a-z0-9]+(-[a-z0-9]+)*")
EXPLAINED = f"{FOLDER}/README.md says what a record has"


@dataclass(frozen=True)
class Entry:
    """A record, the story below it, and the folder that both lie in."""

    record: Record
    story: str
    folder: Path

    def patch(self, fault: Fault) -> Path:
        """Return where a fault's patch is."""
        return self.folder / fault.file


@dataclass(frozen=True)
class Book:
    """All entries, by number; ``root`` is the project's folder, which tests and paths begin at."""

    root: Path
    entries: tuple[Entry, ...]

    def __iter__(self) -> Iterator[Entry]:
        """Go through the entries in order of their numbers."""
        return iter(self.entries)

    def entry(self, number: int) -> Entry:
        """Return a failure's entry; raise ``NotFound`` if there is none."""
        for entry in self.entries:
            if entry.record.id == number:
                return entry
        raise NotFound(f"failure {number} has no record. `muster failures list` shows all.")

    def tests(self) -> dict[str, set[int]]:
        """Return the tests that records name, with the numbers of these records."""
        named: dict[str, set[int]] = {}
        for entry in self.entries:
            for test in entry.record.tests:
                named.setdefault(test.id, set()).add(entry.record.id)
        return named


def find_root(start: Path | None = None) -> Path:
    """Return the nearest folder, from ``start`` up, that has a book of failures."""
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / FOLDER).is_dir():
            return folder
    raise InvalidInput(
        FOLDER,
        f"is no folder in {start}, nor above it",
        "Run this in the project, or make the folder to begin a book.",
    )


def read_book(root: Path) -> Book:
    """Read all records; raise ``BadLedger`` with everything that is wrong with them."""
    entries: list[Entry] = []
    problems: list[Problem] = []
    for folder in sorted(each for each in (root / FOLDER).iterdir() if each.is_dir()):
        try:
            entries.append(read_entry(folder))
        except BadLedger as error:
            problems += error.problems
    problems += _twice(entries)
    if problems:
        raise BadLedger(problems)
    return Book(root, tuple(sorted(entries, key=lambda each: each.record.id)))


def read_entry(folder: Path) -> Entry:
    """Read the record in a folder; raise ``BadLedger`` with all that is wrong with it."""
    name = f"{FOLDER}/{folder.name}"
    file = f"{name}/{RECORD}"
    number = NAME.fullmatch(folder.name)
    if not number:
        raise _bad(
            name, "", "is no name of a record", "Name it NNNN-some-words, like 0005-no-lease"
        )
    try:
        record, story = parse(file, (folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _bad(file, "", "is not there", "Write it, or remove the folder") from None
    except UnicodeDecodeError as error:
        raise _bad(file, "", f"is not UTF-8: {error.reason}", "Save it as UTF-8") from None
    if record.id != int(number[1]):
        raise _bad(
            file, "id", f"{record.id} is not the folder's number", f"Write id = {int(number[1])}"
        )
    return Entry(record, story, folder)


def parse(file: str, text: str) -> tuple[Record, str]:
    """Return the record and the story in a text; raise ``BadLedger`` with all that is wrong."""
    try:
        front, story = _split(text)
        return Record.model_validate(tomllib.loads(front)), story
    except _NoFrontMatter:
        raise _bad(
            file, "", f"has no front matter between two lines {FENCE}", f"Add it; {EXPLAINED}"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise _bad(file, "", f"is no TOML: {error}", "Correct the front matter") from None
    except ValidationError as error:
        raise BadLedger(_explain(file, each) for each in error.errors()) from None


class _NoFrontMatter(Exception):
    pass


def _split(text: str) -> tuple[str, str]:
    """Part a record into its front matter and its story."""
    lines = text.splitlines()
    if not lines or lines[0].rstrip() != FENCE:
        raise _NoFrontMatter
    for at, line in enumerate(lines[1:], start=1):
        if line.rstrip() == FENCE:
            # The fence's own line stays, so that TOML counts lines as the file does.
            return "\n".join(["", *lines[1:at]]), "\n".join(lines[at + 1 :]).strip()
    raise _NoFrontMatter


def _twice(entries: list[Entry]) -> list[Problem]:
    first: dict[int, str] = {}
    problems = []
    for entry in entries:
        other = first.setdefault(entry.record.id, entry.folder.name)
        if other != entry.folder.name:
            problems.append(
                Problem(
                    f"{FOLDER}/{entry.folder.name}",
                    "id",
                    f"{entry.record.id} is the number of {other} already",
                    "Numbers are never used twice: take the next free one",
                )
            )
    return problems


def _bad(file: str, field: str, text: str, remedy: str) -> BadLedger:
    return BadLedger([Problem(file, field, text, f"{remedy}.")])


def _explain(file: str, error: ErrorDetails) -> Problem:
    """Turn one of pydantic's errors into a problem."""
    kind, message = error["type"], error["msg"]
    if kind == "missing":
        text, remedy = "is missing", "Add it"
    elif kind == "extra_forbidden":
        text, remedy = "is no field of a record", "Remove it, or correct its name"
    elif kind == "value_error":
        text, _, remedy = str(error["ctx"]["error"]).partition(": ")
        remedy = remedy[:1].upper() + remedy[1:]
    else:
        text = f"{_shown(error['input'])}: {message[:1].lower()}{message[1:]}"
        remedy = "Correct it"
    return Problem(file, _field(error["loc"]), text, f"{remedy}; {EXPLAINED}.")


def _field(place: tuple[int | str, ...]) -> str:
    """Write a place as people count: ``test[2].tier`` is the tier of the second test."""
    field = ""
    for part in place:
        if isinstance(part, int):
            field += f"[{part + 1}]"
        elif not part.startswith(("function-", "date", "datetime")) or part == "date":
            field += f".{part}" if field else part
    return field


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}…"
