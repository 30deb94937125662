"""Run files: JSON lines, written while a run goes on, so that a killed run is not lost.

A writer holds a lock on its file as long as it lives. A file without an end that nobody holds is
that of a run that was killed.
"""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, TypeAdapter, ValidationError

from muster.errors import InvalidInput, MusterError
from muster.matrix.results.model import FORMAT, Head, Line, Measure, Run, Tail, TestLine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEPT = 300
"""So many of the newest run files stay when a new one is begun. The store keeps what they said."""

SUFFIX = ".jsonl"
_LINE: TypeAdapter[Head | TestLine | Measure | Tail] = TypeAdapter(
    Annotated[Head | TestLine | Measure | Tail, Field(discriminator="kind")]
)


class NoRunYet(MusterError):
    """The file has no whole run: its process still writes, or was killed before its first line."""


class Writer:
    """Writes one run's file, a line at a time."""

    def __init__(self, folder: Path, head: Head) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        stamp = head.started.strftime("%Y%m%dT%H%M%SZ")
        self.path = folder / f"{stamp}-{head.session}-{head.id}{SUFFIX}"
        self._file = self.path.open("x", encoding="utf-8")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self.add(head)

    @property
    def junit(self) -> Path:
        """Where the run's JUnit XML goes."""
        return self.path.with_suffix(".xml")

    def add(self, line: Line) -> None:
        """Write a line, whole and at once."""
        self._file.write(line.model_dump_json(exclude_none=True) + "\n")
        self._file.flush()

    def end(self, tail: Tail) -> None:
        """Write the last line."""
        self.add(tail)
        self._file.close()


def run_files(folder: Path) -> list[Path]:
    """Return the run files of a folder, the oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def prune(folder: Path, keep: int = KEPT) -> list[Path]:
    """Remove all but the newest run files, with their JUnit XML; return what was removed."""
    files = run_files(folder)
    old = files[: max(0, len(files) - keep)]
    for file in old:
        file.unlink(missing_ok=True)
        file.with_suffix(".xml").unlink(missing_ok=True)
    return old


def read(path: Path) -> Run:
    """Read a run's file.

    Raises ``NoRunYet``, and ``InvalidInput`` for a file that is none, naming the line. The
    last line of a killed run may be torn; it is left out.
    """
    with path.open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NoRunYet from None
        text = file.read()
    if "\n" not in text:
        raise NoRunYet
    lines = list(_lines(path, text))
    if not lines or not isinstance(lines[0], Head):
        raise InvalidInput(str(path), "does not begin with a run", "Remove it.")
    return Run(
        head=lines[0],
        tests=[line for line in lines if isinstance(line, TestLine)],
        measures=[line for line in lines if isinstance(line, Measure)],
        tail=lines[-1] if isinstance(lines[-1], Tail) else None,
    )


def _lines(path: Path, text: str) -> Iterator[Head | TestLine | Measure | Tail]:
    whole, _, _torn = text.rpartition("\n")
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            parsed = _LINE.validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"][1:])
            raise InvalidInput(
                f"{path}, line {number}", f"is no line of a run ({where}: {first['msg']})",
                "Remove the file, or import it with the Muster that wrote it.",
            ) from None  # fmt: skip
        if isinstance(parsed, Head) and parsed.format > FORMAT:
            raise InvalidInput(
                f"{path}, line {number}",
                f"has format {parsed.format}, and this Muster reads up to {FORMAT}",
                "Import it with a newer Muster.",
            )
        yield parsed
