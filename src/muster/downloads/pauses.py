"""Which hosts asked to be left alone, and until when: kept on disk, so that a restart obeys too."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from muster.downloads.files import read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from muster.downloads.places import Host

LONGEST_S = 86_400.0
"""No host is left alone for longer, whatever it said, or this machine's clock was."""


class Pauses:
    """One small file for each host, shared by all that download on this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def note(self, host: Host, wait_s: float) -> None:
        """Remember that the host wants no request for so many seconds; a longer pause stays."""
        until = max(time.time() + min(wait_s, LONGEST_S), self._until(host))
        write_json(self._file(host), {"host": str(host), "until": until})

    def left(self, host: Host) -> float:
        """Return for how many seconds the host is still to be left alone."""
        return min(max(0.0, self._until(host) - time.time()), LONGEST_S)

    def _until(self, host: Host) -> float:
        noted = read_json(self._file(host)).get("until", 0.0)
        return noted if isinstance(noted, float) else 0.0

    def _file(self, host: Host) -> Path:
        return self._folder / f"{host.scheme}-{host.name.replace(':', '-')}-{host.port}.json"
