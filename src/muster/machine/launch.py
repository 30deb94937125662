"""Becomes the program that a file describes. Run by path, so that it starts in milliseconds.

supervisord's configuration cannot say every argument and variable that there may be (both kinds of
quotes, a semicolon, a line end), so each of its programs is this one, with a JSON file of ``argv``,
``env`` (complete) and ``directory``.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def main(spec_file: str) -> None:
    """Replace this process by the program that the file describes."""
    spec = json.loads(Path(spec_file).read_text(encoding="ascii"))
    _end_with_parent()
    os.chdir(spec["directory"])
    os.execvpe(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606


def _end_with_parent() -> None:
    """Have the kernel send SIGTERM when the parent dies, even if by SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGTERM))


if __name__ == "__main__":
    main(sys.argv[1])
