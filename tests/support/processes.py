"""Programs that tests run beside themselves, and end."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from support.redis import DIE_WITH_PARENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


@contextmanager
def running_process(
    argv: Sequence[str],
    log_file: Path,
    *,
    environment: Mapping[str, str] | None = None,
    ends_within_s: float = 20,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends, or the test run does. What it says goes to the file."""
    with (
        log_file.open("ab") as log,
        subprocess.Popen(
            [sys.executable, "-ISc", DIE_WITH_PARENT, *argv],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(ends_within_s)
            finally:
                process.kill()
