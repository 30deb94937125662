"""``muster up``: a whole fleet on this computer, from one command to Ctrl-C."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
from rich.console import Console

from muster.cli.local_fleet import LocalFleet, Options, marker, prepare
from muster.client import AsyncClient
from muster.client.profile import write_profile
from muster.errors import MusterError, NotFound
from muster.fleet.model import MachineState
from muster.jobs.connection import check, connect
from muster.machine import leftovers
from muster.tasks import end, stop_signals

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Probe = Callable[[LocalFleet], Awaitable[str | None]]

READY_TIMEOUT_S = 120.0
_LOOK_EVERY_S = 0.2


class NotUp(MusterError):
    """The fleet did not come up."""


async def run(options: Options) -> None:
    """Run the fleet until SIGTERM or Ctrl-C.

    Raises ``InvalidInput`` for options that cannot work, ``Conflict`` if a fleet runs on the same
    data already, ``NotUp`` if it does not come up.
    """
    console = Console(highlight=False)
    with leftovers.sole_run(options.data_dir / "up.lock", "Another `muster up`"):
        await asyncio.to_thread(leftovers.end, marker(options.data_dir))
        fleet = prepare(options)
        with stop_signals() as stopped:
            async with fleet.caretaker:
                await _until_stopped(fleet, stopped, console)
    console.print("Stopped.")


async def _until_stopped(fleet: LocalFleet, stopped: asyncio.Event, console: Console) -> None:
    stop = asyncio.create_task(stopped.wait())
    care = asyncio.create_task(fleet.caretaker.run())
    show = asyncio.create_task(_show(fleet, console))
    try:
        waiting = {stop, care, show}
        while stop in waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        console.print("Stopping: running jobs go back to the queue.")
        await end(care, show)
        await fleet.caretaker.drain()
    finally:
        await end(stop, care, show)


async def _show(fleet: LocalFleet, console: Console) -> None:
    options = fleet.options
    steps: dict[str, Probe] = {
        "Redis answers": _redis_problem,
        "the server answers": _server_problem,
        f"machine {options.machine_id} is ready, {options.gpus} of {options.gpus}": (
            _machine_problem
        ),
    }
    deadline = asyncio.get_running_loop().time() + READY_TIMEOUT_S
    for what, probe in steps.items():
        await _wait(fleet, what, probe, deadline, console)
    profile = write_profile(fleet.profile)
    places = {
        "Server": f"{fleet.profile.url} (API: {fleet.profile.url}/docs)",
        "Token": str(fleet.token_file),
        "Profile": f"{profile} (what `muster` commands use)",
        "Redis": f"127.0.0.1:{fleet.redis.port} (password: {options.data_dir / 'redis-password'})",
        "Data": str(options.data_dir),
        "Logs": _logs(fleet),
    }
    console.print()
    for name, place in places.items():
        console.print(f"  [bold]{name:<9}[/bold]{place}", soft_wrap=True)
    console.print(
        "\nTry in another terminal:\n\n"
        "  muster machines\n"
        "  muster submit comfyui --example --count 20 --watch\n\n"
        "Ctrl-C stops everything and keeps the data."
    )


async def _wait(
    fleet: LocalFleet, what: str, probe: Probe, deadline: float, console: Console
) -> None:
    with console.status(f"Waiting until {what}") as status:
        while problem := await probe(fleet):
            status.update(f"Waiting until {what}: {problem}")
            _raise_if_given_up(fleet)
            if asyncio.get_running_loop().time() > deadline:
                raise NotUp(
                    f"The fleet did not come up in {READY_TIMEOUT_S:g} s. Awaited was that {what}, "
                    f"but {problem}. Logs are in {_logs(fleet)}."
                )
            await asyncio.sleep(_LOOK_EVERY_S)
    console.print(f"[green]ok[/green] {what}")


def _logs(fleet: LocalFleet) -> str:
    return f"{fleet.options.data_dir / 'supervisor' / 'logs'} and {fleet.machine_logs}"


def _raise_if_given_up(fleet: LocalFleet) -> None:
    for name in fleet.caretaker.given_up:
        raise NotUp(
            f"The fleet did not come up: {name} does not start. It says: "
            f"{fleet.caretaker.last_line(name)} (all of it: {fleet.caretaker.log_file(name)})"
        )


async def _redis_problem(fleet: LocalFleet) -> str | None:
    redis = connect(fleet.redis_settings)
    try:
        await check(redis, fleet.redis_settings)
    except MusterError as error:
        return str(error)
    finally:
        await redis.aclose()
    return None


async def _server_problem(fleet: LocalFleet) -> str | None:
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            (await client.get(f"{fleet.profile.url}/readyz")).raise_for_status()
    except httpx.HTTPError as error:
        return str(error)
    return None


async def _machine_problem(fleet: LocalFleet) -> str | None:
    server = fleet.profile
    try:
        async with AsyncClient(server.url, server.token.get_secret_value()) as client:
            machine = await client.machine(fleet.options.machine_id)
    except NotFound:
        return "it has not registered"
    if machine.state is MachineState.READY:
        return None
    return "; ".join(machine.reasons) or f"it is {machine.state}"
