"""The client for ordinary, blocking code."""

from __future__ import annotations

import functools
import time
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
    from collections.abc import Callable, Iterator

    from muster.client.calls import Call
    from muster.jobs.model import Job, JobState

P = ParamSpec("P")
T = TypeVar("T")


def _method(build: Callable[P, Call[T]]) -> Callable[Concatenate[Client, P], T]:
    @functools.wraps(build)
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.send(build(*args, **kwargs))

    return method


class Client:
    """Speaks to a Muster server. Close it after use, or use it in a ``with`` statement.

    URL and token come from the arguments, MUSTER_URL and MUSTER_TOKEN, or the user's profile.
    For ``patience_s`` seconds a call is repeated while the server is busy or away, if that can do
    no harm. Every method raises ``ServerUnavailable``, ``Refused`` (the token), ``Rejected``
    (values of the request), ``NotFound``, ``Conflict`` or ``Busy``, in the server's words.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        patience_s: float = PATIENCE_S,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.server = find_server(url, token)
        self._patience_s = patience_s
        self._http = httpx.Client(transport=transport, **http_options(self.server))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

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

    def every_job(self, state: JobState, *, page: int = 200) -> Iterator[Job]:
        """Iterate over all jobs in a state, ``page`` to a request."""
        cursor: str | None = None
        while True:
            answer = self.jobs(state, cursor=cursor, limit=page)
            yield from answer.jobs
            cursor = answer.cursor
            if cursor is None:
                return

    def wait(
        self,
        job_id: str,
        *,
        timeout: float | None = None,
        on_progress: Callable[[Job], None] | None = None,
    ) -> Job:
        """Return the job when it is over; ``on_progress`` sees it whenever it has changed.

        Raises ``WaitTimeout`` after ``timeout`` seconds.
        """
        watch = Watch(timeout, on_progress)
        while (pause := watch.pause_after(job := self.get(job_id))) is not None:
            time.sleep(pause)
        return job

    def send(self, call: Call[T]) -> T:
        """Send a call and return its answer."""
        return stamina.RetryingCaller(attempts=None, timeout=self._patience_s)(
            may_repeat(call, self._patience_s), self._send_once, call
        )

    def _send_once(self, call: Call[T]) -> T:
        with reaching(self.server):
            response = self._http.request(**request_options(call))
        return answer_of(call, response)
