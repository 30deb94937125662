"""What the routes work with, made once per process."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from muster.fleet.registry import Registry
from muster.jobs.queue import Queue


async def _queue(request: Request) -> Queue:
    queue: Queue = request.app.state.queue
    return queue


async def _registry(request: Request) -> Registry:
    registry: Registry = request.app.state.registry
    return registry


QueueDep = Annotated[Queue, Depends(_queue)]
RegistryDep = Annotated[Registry, Depends(_registry)]
