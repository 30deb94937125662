"""The benchmark's command line."""

from __future__ import annotations

import secrets
import socket
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer
from redis import Redis
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.contest import Arena, ContestantFailed
from benchmarks.measures import FULL, QUICK, Measures
from benchmarks.peers import installed
from benchmarks.report import Report
from muster.embedded import EmbeddedRedis

Fsync = Literal["none", "everysec", "always"]

console = Console()


def main() -> None:
    """Run the command line."""
    typer.run(measure)


def measure(
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Do a tenth of the work, for a first look.")
    ] = False,
    peers: Annotated[bool, typer.Option(help="Measure other queues as well.")] = True,
    fsync: Annotated[
        Fsync, typer.Option(help="How Redis keeps its data: not at all, or an AOF with this fsync.")
    ] = "none",
    json: Annotated[Path | None, typer.Option(help="Write the numbers to this file.")] = None,
) -> None:
    """Measure Muster's queue beside its peers and beside the limit."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name:
        folder = Path(name)
        contestants, missing = installed(folder / "bullmq") if peers else ([], [])
        with _redis(folder / "redis", fsync) as server, _progress() as progress:
            report = Report(_setting(server.url, fsync))
            measures = Measures(Arena(server.url), report, QUICK if quick else FULL)
            for what, step in progress.track(measures.steps(contestants)):
                progress.update(progress.task_ids[0], description=what)
                try:
                    step()
                except ContestantFailed as failure:
                    missing.append(f"{what}: {failure}")
    console.print(report.table())
    for why in missing:
        console.print(f"Not measured: {why}", style="yellow", markup=False)
    if json:
        report.write(json)


def _redis(folder: Path, fsync: Fsync) -> EmbeddedRedis:
    return EmbeddedRedis(
        folder,
        port=_free_port(),
        password=secrets.token_urlsafe(),
        appendonly=fsync != "none",
        appendfsync="always" if fsync == "always" else "everysec",
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _setting(url: str, fsync: str) -> dict[str, str]:
    with Redis.from_url(url) as redis:
        server = redis.info("server")
    name = "Valkey" if "valkey_version" in server else "Redis"
    version = server.get("valkey_version", server["redis_version"])
    return {name: version, "fsync": fsync, "Python": sys.version.split()[0]}


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
