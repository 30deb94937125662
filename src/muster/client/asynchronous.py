"""The client for asyncio."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Self, TypeVar

import httpx
import stamina

from muster.client import calls
from muster.client.sending import (
    PATIENCE_S,
    Watch,
    answer_of,
    http_options,
    may_repeat,
    reaching,
    request_options,
)
from muster.client.target import find_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from muster.client.calls import Call
    from muster.jobs.model import Job, JobState

P = ParamSpec("P")
T = TypeVar("T")


def _method(build: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncClient, P], Awaitable[T]]:
    @functools.wraps(build)
    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.send(build(*args, **kwargs))

    return method


class AsyncClient:
    """``Client``, with methods to await. Close it after use, or use it in ``async with``."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        patience_s: float = PATIENCE_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.server = find_server(url, token)
        self._patience_s = patience_s
        self._http = httpx.AsyncClient(transport=transport, **http_options(self.server))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    submit = _method(calls.submit)
    submit_many = _method(calls.submit_many)
    get = _method(calls.get)
    jobs = _method(calls.jobs)
    cancel = _method(calls.cancel)
    retry = _method(calls.retry)
    explain = _method(calls.explain)
    machines = _method(calls.machines)
    machine = _method(calls.machine)
    workers = _method(calls.workers)
    drain = _method(calls.drain)
    undrain = _method(calls.undrain)
    restart = _method(calls.restart)
    queue = _method(calls.queue)
    pause = _method(calls.pause)
    resume = _method(calls.resume)
    nameplate = _method(calls.nameplate)

    async def every_job(self, state: JobState, *, page: int = 200) -> AsyncIterator[Job]:
        """Iterate over all jobs in a state, ``page`` to a request."""
        cursor: str | None = None
        while True:
            answer = await self.jobs(state, cursor=cursor, limit=page)
            for job in answer.jobs:
                yield job
            cursor = answer.cursor
            if cursor is None:
                return

    async def wait(
        self,
        job_id: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  (the same words in both clients)
        on_progress: Callable[[Job], None] | None = None,
    ) -> Job:
        """Return the job when it is over; ``on_progress`` sees it whenever it has changed.

        Raises ``WaitTimeout`` after ``timeout`` seconds.
        """
        watch = Watch(timeout, on_progress)
        while (  # noqa: ASYNC110  (what changes is in another process)
            pause := watch.pause_after(job := await self.get(job_id))
        ) is not None:
            await asyncio.sleep(pause)
        return job

    async def send(self, call: Call[T]) -> T:
        """Send a call and return its answer."""
        return await stamina.AsyncRetryingCaller(attempts=None, timeout=self._patience_s)(
            may_repeat(call, self._patience_s), self._send_once, call
        )

    async def _send_once(self, call: Call[T]) -> T:
        with reaching(self.server):
            response = await self._http.request(**request_options(call))
        return answer_of(call, response)
