"""Fetch and verify a large file from loopback, beside ``curl`` and ``sha256sum``, in one run.

Usage: ``nox -s benchmarks-downloads -- [--size MIB] [--rounds N] [--json]``. The goal is a ratio of
at most 1.3, with less than 100 MiB of memory. Both read from the same server, turn by turn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

GOAL_RATIO = 1.3
GOAL_MIB = 100
MIB = 1024 * 1024

FETCH = """
import asyncio, resource, sys
from pathlib import Path
from muster.downloads.content import Content
from muster.downloads.fetching import open_fetcher
from muster.downloads.settings import DownloadSettings
from muster.downloads.store import Store

async def fetch(url, sha256, size, folder):
    settings = DownloadSettings.load(store_dir=Path(folder))
    async with open_fetcher(settings) as fetcher:
        content = Content(sha256, int(size))
        async with Store(settings.store_dir).hold(url, content, fetcher, lambda *_: None):
            pass

asyncio.run(fetch(*sys.argv[1:]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds, print what was measured; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=1024, metavar="MIB")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name:
        measured = _measure(Path(name), given.size * MIB, given.rounds)
    if given.json:
        print(json.dumps(measured, indent=2))
    else:
        print(f"{given.size} MiB, {given.rounds} rounds, medians")
        print(f"  curl and sha256sum   {measured['curl_s']:6.2f} s")
        print(f"  Muster               {measured['muster_s']:6.2f} s")
        print(f"  ratio                {measured['ratio']:6.2f}    goal {GOAL_RATIO}")
        print(f"  memory               {measured['memory_mib']:6.0f} MiB goal {GOAL_MIB}")
    return int(measured["ratio"] > GOAL_RATIO or measured["memory_mib"] > GOAL_MIB)


def _measure(folder: Path, size: int, rounds: int) -> dict[str, float]:
    file = folder / "served" / "files" / "large.bin"
    file.parent.mkdir(parents=True)
    with file.open("wb") as out:
        for _ in range(size // MIB):
            out.write(os.urandom(MIB))
    told = subprocess.run(["sha256sum", file], check=True, capture_output=True, text=True)
    sha256 = told.stdout.split()[0]
    server = subprocess.Popen(
        [sys.executable, "-m", "muster.simulation.releases", "--directory", folder / "served"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        base = server.stdout.readline().split()[-1]
        return _compare(base, sha256, size, folder, rounds)
    finally:
        server.terminate()
        server.wait()


def _compare(host: str, sha256: str, size: int, folder: Path, rounds: int) -> dict[str, float]:
    url = f"{host}/files/large.bin"
    curl: list[float] = []
    muster: list[float] = []
    memory = 0.0
    for number in range(rounds):
        curl.append(_timed(["curl", "-sS", "-o", folder / "curl.bin", url], sha256, folder))
        (folder / "curl.bin").unlink()
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", FETCH, url, sha256, str(size), folder / f"store-{number}"],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "DOWNLOAD_HOSTS": host},
        )
        muster.append(time.perf_counter() - started)
        memory = max(memory, int(done.stdout) / 1024)
        (folder / f"store-{number}" / "objects" / sha256).unlink()
    return {
        "curl_s": statistics.median(curl),
        "muster_s": statistics.median(muster),
        "ratio": statistics.median(m / c for m, c in zip(muster, curl, strict=True)),
        "memory_mib": memory,
    }


def _timed(fetch: list[str | Path], sha256: str, folder: Path) -> float:
    started = time.perf_counter()
    subprocess.run(fetch, check=True)
    done = subprocess.run(
        ["sha256sum", folder / "curl.bin"], check=True, capture_output=True, text=True
    )
    elapsed = time.perf_counter() - started
    assert done.stdout.startswith(sha256), done.stdout
    return elapsed


if __name__ == "__main__":
    sys.exit(main())
