"""Passes on what programs print, line by line: in a container, what is said goes to its output."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import TextIO

EVERY_S = 0.5
_AT_MOST = 1024 * 1024


class Relay:
    """Copies new lines of log files to ``out``, each with its program's name before it.

    What the files hold already is not repeated. A file that has become shorter was rotated, and is
    read from its beginning.
    """

    def __init__(self, logs: Mapping[str, Path], out: TextIO = sys.stdout) -> None:
        self._logs = logs
        self._out = out
        self._read = {name: _size(log) for name, log in logs.items()}

    async def run(self) -> None:
        """Copy until cancelled, and then what is left."""
        try:
            while True:
                self.copy()
                await asyncio.sleep(EVERY_S)
        finally:
            self.copy()

    def copy(self) -> None:
        """Copy the lines that are new and complete."""
        for name, log in self._logs.items():
            for line in self._new_lines(name, log):
                self._out.write(f"[{name}] {line}\n")
        self._out.flush()

    def _new_lines(self, name: str, log: Path) -> list[str]:
        size = _size(log)
        start = self._read[name] if self._read[name] <= size else 0
        if start == size:
            self._read[name] = start
            return []
        with log.open("rb") as file:
            file.seek(start)
            text = file.read(_AT_MOST)
        # A line without an end waits for it, unless it is longer than any line should be.
        complete = text[: text.rfind(b"\n") + 1] or (text if len(text) == _AT_MOST else b"")
        self._read[name] = start + len(complete)
        return complete.decode(errors="replace").splitlines()


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0
