"""``muster up`` in a folder of its own: a whole fleet that a test may harm."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from muster.client import AsyncClient
from muster.client.profile import read_profile
from muster.machine import leftovers
from muster.machine.ports import free_row
from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from collections.abc import Iterator

REDIS = "-server "
"""What is in the command line of redis-server and of valkey-server, and in no other's of ours."""


@dataclass(frozen=True)
class Up:
    """A running ``muster up``."""

    process: subprocess.Popen[bytes]
    log_file: Path
    data_dir: Path
    config: Path
    argv: list[str]

    def log(self) -> str:
        """Return what it printed."""
        return self.log_file.read_text()

    def processes(self, word: str = "") -> list[psutil.Process]:
        """Return its processes whose command line holds a word."""
        found = leftovers.find({"MUSTER_UP": str(self.data_dir)})
        commands = [(process, _command_line(process)) for process in found]
        return [process for process, line in commands if line is not None and word in line]

    def client(self) -> AsyncClient:
        """Return a client that finds the server as a user's would: by the profile."""
        profile = read_profile(self.config / "muster" / "profile.toml")
        assert profile
        return AsyncClient(profile.url, profile.token.get_secret_value())


def _command_line(process: psutil.Process) -> str | None:
    """Return how it was started; None if it ended as we looked."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return None


@contextmanager
def running_up(gpus: int) -> Iterator[Up]:
    """Run ``muster up``; afterwards nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="muster-test-") as name:
        folder = Path(name)
        data_dir, config = folder / "data", folder / "config"
        argv = [
            *(sys.executable, "-m", "muster.cli", "up", "--gpus", str(gpus)),
            *("--port", str(free_row(1)), "--data-dir", str(data_dir)),
        ]
        # What a user may have in the environment must not reach the fleet.
        meddling = {"XDG_CONFIG_HOME": str(config), "NUM_GPUS": "7", "REDIS_URL": "redis://nowhere"}
        log_file = folder / "log"
        with log_file.open("wb") as log:
            process = subprocess.Popen(argv, env={**os.environ, **meddling}, stdout=log, stderr=log)
        with process:
            running = Up(process, log_file, data_dir, config, argv)
            try:
                eventually_blocking(
                    lambda: "Ctrl-C stops" in running.log() or process.poll() is not None,
                    "it is up",
                    timeout_s=60,
                )
                assert process.poll() is None, running.log()
                yield running
            finally:
                process.terminate()
                process.wait(timeout=60)
                assert running.processes() == []
