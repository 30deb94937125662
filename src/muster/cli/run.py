"""The commands that run for long: ``up``, ``server``, ``machine`` and ``worker``.

Each imports what it runs when it runs: a machine starts up to eight workers at once, and none of
them should load a server first.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Annotated, Literal

import structlog
import typer
import uvloop
from platformdirs import user_data_path

EnvFile = Annotated[
    Path | None,
    typer.Option(
        help="Read settings from this file too; environment variables win over it.",
        exists=True,
        dir_okay=False,
        readable=True,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command()(up)
    app.command()(server)
    app.command()(machine)
    app.command()(worker)


def up(
    gpus: Annotated[int, typer.Option(help="How many simulated GPUs, 1 to 8.")] = 4,
    port: Annotated[int, typer.Option(help="The server's port.", min=1, max=65535)] = 8700,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where all data is kept.", file_okay=False)
    ] = None,
    machine_id: Annotated[str, typer.Option(help="The machine's name.")] = "local",
    queue: Annotated[str, typer.Option(help="The queue's name.")] = "default",
    durability: Annotated[
        Literal["everysec", "always"],
        typer.Option(help="When Redis writes to disk: a power cut takes a second, or nothing."),
    ] = "everysec",
) -> None:
    """Run a whole fleet here: Redis, a server, and a machine with simulated ComfyUI."""
    from muster.cli import local_fleet
    from muster.cli import up as local

    _log_to_stderr(logging.WARNING)
    options = local_fleet.Options(
        gpus=gpus,
        port=port,
        data_dir=(data_dir or user_data_path("muster")).absolute(),
        machine_id=machine_id,
        queue=queue,
        durability=durability,
    )
    asyncio.run(local.run(options))


def server(env_file: EnvFile = None) -> None:
    """Run the HTTP API, until SIGTERM or Ctrl-C. Settings come from environment variables."""
    from muster.server.serving import serve
    from muster.server.settings import ServerSettings

    _log_to_stderr(logging.INFO)
    serve(ServerSettings.load(env_file=env_file))


def machine(env_file: EnvFile = None) -> None:
    """Run this machine's services and workers, until SIGTERM or Ctrl-C drains it."""
    from muster.machine import agent
    from muster.machine.settings import MachineSettings

    _log_to_stderr(logging.INFO)
    asyncio.run(agent.run(MachineSettings.load(env_file=env_file)))


def worker(env_file: EnvFile = None) -> None:
    """Run one worker, until SIGTERM or Ctrl-C drains it. A machine starts its workers itself."""
    from muster.worker import loop
    from muster.worker.settings import WorkerSettings

    _log_to_stderr(logging.INFO)
    uvloop.run(loop.run(WorkerSettings.load(env_file=env_file)))


def _log_to_stderr(level: int) -> None:
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
