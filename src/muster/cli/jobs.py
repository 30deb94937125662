"""Commands about jobs: list, look at one, cancel, retry, explain."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from muster.cli.session import Json, Token, Url, ago, connect, console, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muster.client import Client, Job, JobState

State = Literal["running", "pending", "scheduled", "failed", "completed", "cancelled"]
STATES: tuple[State, ...] = (
    "running",
    "pending",
    "scheduled",
    "failed",
    "completed",
    "cancelled",
)
SHOWN = 50
JobId = Annotated[str, typer.Argument(help="The job's id.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    for command in (jobs, explain, cancel, retry):
        app.command(rich_help_panel="Jobs")(command)


def jobs(
    job_id: Annotated[
        str | None, typer.Argument(help="Show this one job, with the story of its attempts.")
    ] = None,
    state: Annotated[
        State | None, typer.Option(help="Only jobs in this state.", show_default="all")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="At most so many.", show_default=f"{SHOWN}; with --json all"),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="However many there are.")] = False,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """List jobs, or show one."""
    with connect(url, token) as client:
        if job_id is not None:
            job = client.get(job_id)
            print_json(job) if as_json else _print_one(job)
            return
        if limit is None and not everything and not as_json:
            limit = SHOWN
        listed = list(islice(_listed(client, state), limit))
        if as_json:
            print_json(listed)
            return
        _print_table(listed)
        status = client.queue()
    counts = ", ".join(f"{status.counts.get(_state(name), 0)} {name}" for name in STATES)
    typer.echo(f"{counts}{'. The queue is paused.' if status.paused else ''}")


def explain(job_id: JobId, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Say why a job is where it is: what no worker meets, or what stands before it."""
    with connect(url, token) as client:
        explanation = client.explain(job_id)
    if as_json:
        print_json(explanation)
        return
    typer.echo(f"{explanation.job_id} is {explanation.state}. {explanation.summary}")
    for reason in explanation.reasons:
        typer.echo(f"  {reason}")


def cancel(job_id: JobId, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Cancel a job that is not over; a running one is interrupted."""
    with connect(url, token) as client:
        job = client.cancel(job_id)
    print_json(job) if as_json else typer.echo(f"{job.id} is {job.state}.")


def retry(job_id: JobId, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Give a failed or cancelled job its attempts anew."""
    with connect(url, token) as client:
        job = client.retry(job_id)
    print_json(job) if as_json else typer.echo(f"{job.id} is {job.state}.")


def _listed(client: Client, state: State | None) -> Iterator[Job]:
    for name in [state] if state else STATES:
        yield from client.every_job(_state(name))


def _state(name: State) -> JobState:
    from muster.client import JobState

    return JobState(name)


def _print_table(listed: list[Job]) -> None:
    from rich.table import Table

    table = Table("job", "state", "service", "priority", "submitted", "attempt", "where it is")
    for job in listed:
        row = (job.id, job.state, job.service, str(job.priority), ago(job.submitted_at))
        table.add_row(*row, str(job.attempt), _place(job))
    if listed:
        console().print(table)


def _place(job: Job) -> str:
    if job.state == "running":
        done = f", {job.progress.fraction:.0%}" if job.progress else ""
        return f"on {job.worker}{done}"
    if job.state == "scheduled" and job.due_at:
        return f"due {job.due_at:%Y-%m-%d %H:%M:%S} UTC"
    if job.state == "failed" and job.attempts:
        return job.attempts[-1].error.message
    return f"ended {ago(job.finished_at)}" if job.finished_at else ""


def _print_one(job: Job) -> None:
    lines = {
        "job": job.id,
        "state": job.state,
        "service": job.service,
        "priority": job.priority,
        "requirements": job.requirements.model_dump_json(exclude_defaults=True),
        "submitted": f"{job.submitted_at:%Y-%m-%d %H:%M:%S} UTC ({ago(job.submitted_at)})",
        "worker": job.worker or "none yet",
        "attempts": f"{job.attempt}, of which {job.failed_attempts} failed "
        f"(at most {job.max_failed}), {job.lost_attempts} lost (at most {job.max_lost})",
    }
    if job.progress:
        lines["progress"] = f"{job.progress.fraction:.0%} {job.progress.message}"
    for name, value in lines.items():
        typer.echo(f"{name:<13} {value}")
    for attempt in job.attempts:
        took = (attempt.ended_at - attempt.started_at).total_seconds()
        typer.echo(
            f"  attempt {attempt.number} on {attempt.worker} {attempt.outcome} after {took:.1f} s "
            f"({attempt.error.kind}): {attempt.error.message}"
        )
    for name, part in (("payload", job.payload), ("result", job.result)):
        if part is not None:
            typer.echo(name)
            print_json(part)
