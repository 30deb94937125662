"""``muster submit``: one job or a batch, watched to its end if you like."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from muster.cli import payloads
from muster.cli.session import WATCHING_PATIENCE_S, Json, Token, Url, connect, console, print_json
from muster.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muster.client import Client, Job, JobRequest, Submitted

BULK = 1000
BULK_BYTES = 8 * 1024 * 1024


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(rich_help_panel="Jobs")(submit)


def submit(
    service: Annotated[str, typer.Argument(help="What shall run it, for example comfyui.")],
    payload: Annotated[
        str | None,
        typer.Argument(help="The job's JSON, @FILE to read it from a file, or - from stdin."),
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="Submit a ready example for the service.")
    ] = False,
    count: Annotated[
        int | None,
        typer.Option(
            min=1,
            help='Submit so many, in bulk. "$N" as a value in the payload becomes the number of '
            "the job, from 0.",
            show_default="1",
        ),
    ] = None,
    priority: Annotated[int, typer.Option(min=0, max=100, help="100 goes first.")] = 50,
    model: Annotated[
        list[str] | None, typer.Option(help="A model that the worker must have. Repeatable.")
    ] = None,
    vram_mib: Annotated[int, typer.Option(min=0, help="GPU memory that it needs, in MiB.")] = 0,
    label: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE that the worker must carry. Repeatable."),
    ] = None,
    delay: Annotated[
        float | None, typer.Option(min=0, help="Run it not before so many seconds from now.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="Run it not before this time (ISO 8601).")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that one attempt may take.")] = 3600,
    max_failed: Annotated[int, typer.Option(help="How many attempts may fail.")] = 3,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            help="Submit once only, however often you try; with --count each job gets KEY-0, "
            "KEY-1, … [default: a random key]",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Submit nothing: print what POST /v1/jobs would be sent."),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Wait for the end; exit 1 unless all complete.")
    ] = False,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Submit a job, or a batch of them.

    A first try: muster submit comfyui --example --count 20 --watch
    """
    requirements = {
        "models": model or [],
        "vram_mib": vram_mib,
        "labels": dict(_label(text) for text in label or []),
    }
    request = _request(
        service=service,
        payload=payloads.example(service) if example else payloads.read(payload),
        requirements=requirements,
        priority=priority,
        not_before=_not_before(delay, at),
        timeout_s=timeout,
        max_failed=max_failed,
        idempotency_key=idempotency_key,
    )
    if dry_run:
        typer.echo(_numbered(request, 0).model_dump_json(exclude_defaults=True, indent=2))
        return
    with connect(url, token) as client:
        submitted = _submit(client, request, count)
    if not watch:
        _tell(submitted, as_json=as_json, many=count is not None)
        return
    with connect(url, token, patience_s=WATCHING_PATIENCE_S) as client:
        jobs = _watch(client, submitted, as_json=as_json)
    if as_json:
        print_json(jobs if count is not None else jobs[0])
    if any(job.state != "completed" for job in jobs):
        raise typer.Exit(1)


def _request(**fields: Any) -> JobRequest:
    from pydantic import ValidationError

    from muster.client import JobRequest
    from muster.client.problem import field_problems

    try:
        return JobRequest.model_validate(fields)
    except ValidationError as error:
        first = field_problems(error.errors(include_url=False))[0]
        raise InvalidInput(first.field, f"{first.value} {first.problem}", first.remedy) from None


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise InvalidInput("--label", "is not KEY=VALUE", "Write --label zone=a.", value=text)
    return key, value


def _not_before(delay: float | None, at: str | None) -> datetime | None:
    if delay is not None and at is not None:
        raise InvalidInput("--delay and --at", "exclude each other", "Give one of them.")
    if delay is not None:
        return datetime.now(UTC) + timedelta(seconds=delay)
    if at is None:
        return None
    try:
        return datetime.fromisoformat(at).astimezone()
    except ValueError:
        raise InvalidInput(
            "--at",
            "is not a time",
            "Write it as 2030-01-31T18:00 (local) or with +00:00.",
            value=at,
        ) from None


def _submit(client: Client, request: JobRequest, count: int | None) -> list[Submitted]:
    if count is None:
        return [client.submit(_numbered(request, 0))]
    return [made for batch in _batches(request, count) for made in client.submit_many(batch)]


def _batches(request: JobRequest, count: int) -> Iterator[list[JobRequest]]:
    """Yield requests in lists that one call can take."""
    each = len(request.model_dump_json())
    size = max(1, min(BULK, BULK_BYTES // each))
    for first in range(0, count, size):
        last = min(first + size, count)
        yield [_keyed(_numbered(request, number), number) for number in range(first, last)]


def _numbered(request: JobRequest, number: int) -> JobRequest:
    return request.model_copy(update={"payload": payloads.numbered(request.payload, number)})


def _keyed(request: JobRequest, number: int) -> JobRequest:
    key = request.idempotency_key
    return request.model_copy(update={"idempotency_key": f"{key}-{number}"}) if key else request


def _watch(client: Client, submitted: list[Submitted], *, as_json: bool) -> list[Job]:
    from rich.console import Console

    from muster.cli.watching import watch

    out = Console(stderr=True, highlight=False) if as_json else console()
    return watch(client, [made.id for made in submitted], out)


def _tell(submitted: list[Submitted], *, as_json: bool, many: bool) -> None:
    if as_json:
        print_json(submitted if many else submitted[0])
        return
    for made in submitted:
        typer.echo(f"{made.id} (submitted earlier)" if made.duplicate else made.id)
