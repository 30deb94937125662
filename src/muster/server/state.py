"""What the routes work with, made once per process."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from muster.fleet.commands import Commands
from muster.fleet.registry import Registry
from muster.jobs.queue import Queue
from muster.server.monitor.monitor import Monitor


async def _queue(request: Request) -> Queue:
    queue: Queue = request.app.state.queue
    return queue


async def _registry(request: Request) -> Registry:
    registry: Registry = request.app.state.registry
    return registry


async def _commands(request: Request) -> Commands:
    commands: Commands = request.app.state.commands
    return commands


async def _monitor(request: Request) -> Monitor:
    monitor: Monitor = request.app.state.monitor
    return monitor


CommandsDep = Annotated[Commands, Depends(_commands)]
MonitorDep = Annotated[Monitor, Depends(_monitor)]
QueueDep = Annotated[Queue, Depends(_queue)]
RegistryDep = Annotated[Registry, Depends(_registry)]
