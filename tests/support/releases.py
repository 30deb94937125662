"""A release server as a process of its own, that tests publish to and spoil."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from muster.simulation.releases.log import Request
from support.redis import DIE_WITH_PARENT
from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from typing import Self

__all__ = ["ReleaseServer", "Request", "write_asset", "write_file"]

_TOLD = "Simulated releases: "


class ReleaseServer:
    """Runs ``python -m muster.simulation.releases`` within a ``with`` block.

    ``options`` are those of its command line, for example ``"--limit", "6/10"``. It ends with the
    process that runs the test. Without a ``directory`` it has a temporary one.
    """

    url: str
    directory: Path
    process: subprocess.Popen[bytes]

    def __init__(self, *options: str, directory: Path | None = None) -> None:
        self._options = options
        self._given = directory
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="muster-")))
            self.directory = self._given or folder / "served"
            self.directory.mkdir(exist_ok=True)
            output = stack.enter_context((folder / "output").open("wb"))
            command = [
                *(sys.executable, "-ISc", DIE_WITH_PARENT),
                *(sys.executable, "-m", "muster.simulation.releases"),
                *("--directory", str(self.directory), *self._options),
            ]
            self.process = subprocess.Popen(command, stdout=output, stderr=output)
            stack.callback(self._stop)
            self.url = self._listens(folder / "output")
            self._control = stack.enter_context(
                httpx.Client(base_url=f"{self.url}/simulation", trust_env=False, timeout=30)
            )
            self._running = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def publish(
        self, owner_repo: str, tag: str, asset: str, content: bytes, *, latest: bool = True
    ) -> str:
        """Put a file into a release, which is the latest then; return the file's SHA-256."""
        return write_asset(self.directory, owner_repo, tag, asset, content, latest=latest)

    def put(self, path: str, content: bytes) -> str:
        """Put a file that ``/files/{path}`` serves; return its SHA-256."""
        return write_file(self.directory / "files" / path, content)

    def arm(self, fault: str) -> None:
        """Arm a fault, for example ``cut=65536*2``."""
        self._control.post("/faults", json={"fault": fault}).raise_for_status()

    def disarm(self) -> None:
        """Disarm all faults."""
        self._control.delete("/faults").raise_for_status()

    def log(self) -> list[Request]:
        """Return all requests since the start, or since the log was cleared."""
        answer = self._control.get("/log").raise_for_status()
        return [Request(**request) for request in answer.json()]

    def clear_log(self) -> None:
        """Forget all requests."""
        self._control.delete("/log").raise_for_status()

    def requests(self, path_substring: str) -> list[Request]:
        """Return the requests whose path contains that."""
        return [request for request in self.log() if path_substring in request.path]

    def _listens(self, output: Path) -> str:
        def told() -> str:
            assert self.process.poll() is None, f"it ended: {output.read_text()}"
            return output.read_text()

        line = eventually_blocking(
            told,
            "the release server listens",
            until=lambda text: text.startswith(_TOLD) and text.endswith("\n"),
            timeout_s=30,
        )
        return line.removeprefix(_TOLD).strip()

    def _stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


def write_asset(
    directory: Path, owner_repo: str, tag: str, asset: str, content: bytes, *, latest: bool = True
) -> str:
    """Put a file into a release in the served folder; return its SHA-256."""
    repository = directory / owner_repo
    digest = write_file(repository / tag / asset, content)
    if latest:
        write_file(repository / "latest", tag.encode())
    return digest


def write_file(path: Path, content: bytes) -> str:
    """Write a file so that nobody sees half of it; return its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_bytes(content)
    unfinished.replace(path)
    return hashlib.sha256(content).hexdigest()
