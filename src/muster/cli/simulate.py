"""``muster simulate``: a fleet in this process, to see what a queue, a server, a page can bear."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Annotated, Self

import structlog
import typer

from muster.cli.session import Json, console, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from muster.simulation.fleet import Report, Simulation


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(simulate)


def simulate(
    machines: Annotated[int, typer.Option(min=1, help="How many machines.")] = 10,
    workers: Annotated[int, typer.Option(min=1, max=8, help="Workers (GPUs) of each.")] = 4,
    jobs: Annotated[int, typer.Option(min=0, help="How many jobs to submit.")] = 100,
    rate: Annotated[
        float | None,
        typer.Option(min=0.01, help="Jobs submitted a second.", show_default="all at once"),
    ] = None,
    duration: Annotated[float, typer.Option(min=0, max=3600, help="Seconds that a job takes.")] = 1,
    failure_rate: Annotated[
        float, typer.Option(min=0, max=0.99, help="The share of attempts that fail.")
    ] = 0,
    churn: Annotated[
        float,
        typer.Option(min=0, help="Machines a minute that leave or die, by turns, and come back."),
    ] = 0,
    seconds: Annotated[
        float | None,
        typer.Option(min=1, help="Keep the fleet so long.", show_default="until all jobs are over"),
    ] = None,
    name: Annotated[str, typer.Option(help="What the machines' names begin with.")] = "sim",
    queue: Annotated[
        str | None, typer.Option(help="The queue.", show_default="$MUSTER_QUEUE, else default")
    ] = None,
    as_json: Json = False,
) -> None:
    """Simulate a fleet and its jobs, on the Redis that REDIS_URL names.

    Registration, heartbeats, claims and events are the real ones; only the work is a wait. Exit
    code 1 if a job reached no end, or more than one. Ctrl-C stops it and leaves nothing behind.
    """
    import uvloop
    from rich.console import Console

    from muster.settings import RedisSettings
    from muster.simulation.fleet import Options, run

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    settings = RedisSettings.load(queue=queue)
    options = Options(
        machines=machines,
        workers=workers,
        jobs=jobs,
        rate=rate,
        duration_s=duration,
        failure_rate=failure_rate,
        churn=churn,
        seconds=seconds,
        name=name,
    )
    out = Console(stderr=True, highlight=False) if as_json else console()
    with _Display(out, options.machines, options.jobs) as display:
        report = uvloop.run(run(options, settings, display.show))
    print_json(report) if as_json else _print(report, out)
    if not report.good:
        raise typer.Exit(1)


class _Display:
    """Two bars, on a terminal: the machines that are ready, the jobs that are over."""

    def __init__(self, out: Console, machines: int, jobs: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._out = out
        self._bars = Progress(
            TextColumn("{task.description:<9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}"),
            console=out,
            disable=not out.is_terminal,
        )
        self._machines = self._bars.add_task("machines", total=machines, words="")
        self._jobs = self._bars.add_task("jobs", total=jobs, words="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, simulation: Simulation) -> None:
        """Show how far it is."""
        machines, states = simulation.machines, simulation.story.states
        self._bars.update(
            self._machines,
            completed=machines.ready,
            words=f"ready; {machines.left} left, {machines.died} died and came back",
        )
        self._bars.update(
            self._jobs,
            completed=sum(count for state, count in states.items() if state.terminal),
            words=", ".join(f"{count} {state}" for state, count in sorted(states.items())),
        )


def _print(report: Report, out: Console) -> None:
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in report.jobs.items())
    wait, recovery = report.wait, report.recovery
    rows = {
        "Fleet": f"{report.machines} machines, {report.workers} workers, {report.seconds:g} s",
        "Jobs": f"{outcomes}; {report.running_at_most} at once at most",
        "Wait": f"p50 {wait.p50_s:.2f} s, p95 {wait.p95_s:.2f} s, longest {wait.max_s:.2f} s",
        "Churn": f"{report.machines_left} machines left, {report.machines_died} died",
        "Recovery": (
            f"{recovery.count} jobs, p50 {recovery.p50_s:.1f} s, longest {recovery.max_s:.1f} s"
            if recovery.count
            else "no job was lost"
        ),
        "Committed twice": str(report.committed_twice),
    }
    for name, text in rows.items():
        table.add_row(f"[bold]{name}[/bold]", text)
    out.print(table)
    if report.stopped:
        out.print("Stopped before the end: what was not over is cancelled.")
