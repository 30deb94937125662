"""Commands about the fleet: its machines, its workers, and what is wrong with it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from muster.cli.session import Json, Token, Url, ago, connect, console, print_json

if TYPE_CHECKING:
    from muster.client import Client
    from muster.fleet.model import Machine, Worker

PAGE = 500
RUNNING = "RUNNING"
SERVICE = "service"


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    for command in (machines, workers, drain, undrain, restart, doctor):
        app.command(rich_help_panel="Fleet")(command)


def machines(as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """List machines: how much of what each should run does run, and if not all, why."""
    with connect(url, token) as client:
        listed = _all_machines(client)
        its_workers = defaultdict(list)
        for worker in _all_workers(client, None):
            its_workers[worker.machine_id].append(worker)
    summaries = [_summary(machine, its_workers[machine.machine_id]) for machine in listed]
    if as_json:
        print_json(summaries)
        return
    if not listed:
        typer.echo("No machine has registered. Start one with `muster machine`, or `muster up`.")
        return
    from rich.table import Table

    table = Table("machine", "state", "services", "workers", "jobs running", "release", "last seen")
    for machine, summary in zip(listed, summaries, strict=True):
        table.add_row(
            machine.machine_id,
            machine.state,
            f"{summary['services_running']}/{machine.gpus}",
            f"{summary['workers_running']}/{machine.gpus}",
            str(summary["jobs_running"]),
            machine.release.version if machine.release else "",
            ago(machine.seen_at),
        )
    console().print(table)
    for machine in listed:
        for reason in machine.reasons:
            typer.echo(f"{machine.machine_id}: {reason}")
        for model in machine.downloads:
            done = f"{model.done / model.size:.0%}"
            typer.echo(f"{machine.machine_id}: fetching model {model.name}, {done}")


def workers(
    machine: Annotated[str | None, typer.Option(help="Only those of this machine.")] = None,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """List workers, with what they offer and the jobs that they hold."""
    with connect(url, token) as client:
        listed = _all_workers(client, machine)
    if as_json:
        print_json(listed)
        return
    if not listed:
        typer.echo("No worker has registered.")
        return
    from rich.table import Table

    table = Table("worker", "machine", "gpu", "state", "service", "jobs", "last seen")
    for worker in listed:
        service = worker.capabilities.service
        jobs = ", ".join(worker.jobs) or worker.reason
        row = (worker.worker_id, worker.machine_id, str(worker.gpu), worker.state, service)
        table.add_row(*row, jobs, ago(worker.seen_at))
    console().print(table)


MachineName = Annotated[str, typer.Argument(help="The machine's id.")]


def drain(
    machine: MachineName, as_json: Json = False, url: Url = None, token: Token = None
) -> None:
    """Have a machine's workers hand their jobs back and stop. The machine stays."""
    with connect(url, token) as client:
        command = client.drain(machine)
    said = f"{machine} will drain within seconds; `muster undrain {machine}` ends that."
    print_json(command) if as_json else typer.echo(said)


def undrain(
    machine: MachineName, as_json: Json = False, url: Url = None, token: Token = None
) -> None:
    """Have the workers of a drained machine start again."""
    with connect(url, token) as client:
        command = client.undrain(machine)
    said = f"{machine} will start its workers within seconds."
    print_json(command) if as_json else typer.echo(said)


def restart(
    machine: MachineName,
    program: Annotated[str, typer.Argument(help="For example worker-gpu0 or comfyui-gpu0.")],
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Have a machine restart a service or a worker. A worker hands its jobs back first."""
    with connect(url, token) as client:
        command = client.restart(machine, program)
    said = f"{machine} will restart {program} within seconds."
    print_json(command) if as_json else typer.echo(said)


def doctor(as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Check this computer and the connection to the fleet; exit 1 if something must be mended."""
    from muster.cli.checks import examine

    findings = examine(url, token)
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            typer.echo(f"{finding.verdict:<5} {finding.what}: {finding.found}")
            if finding.remedy:
                typer.echo(f"      {finding.remedy}")
    if any(finding.verdict == "fail" for finding in findings):
        raise typer.Exit(1)


def _all_machines(client: Client) -> list[Machine]:
    page = client.machines(limit=PAGE)
    listed = page.machines
    while page.cursor is not None:
        page = client.machines(cursor=page.cursor, limit=PAGE)
        listed += page.machines
    return listed


def _all_workers(client: Client, machine_id: str | None) -> list[Worker]:
    page = client.workers(machine_id=machine_id, limit=PAGE)
    listed = page.workers
    while page.cursor is not None:
        page = client.workers(machine_id=machine_id, cursor=page.cursor, limit=PAGE)
        listed += page.workers
    return listed


def _summary(machine: Machine, its_workers: list[Worker]) -> dict[str, Any]:
    """Return the machine as it reports itself, with what scripts would have to count."""
    services = [p for p in machine.programs if p.kind == SERVICE and p.state == RUNNING]
    live = [worker for worker in its_workers if worker.state != "offline"]
    return machine.model_dump(mode="json") | {
        "services_running": len(services),
        "workers_running": len(live),
        "jobs_running": sum(len(worker.jobs) for worker in live),
    }
