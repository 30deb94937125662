"""What both clients do around a request: prepare it, read its answer, decide on another try."""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from pydantic import ValidationError

from muster.client.errors import ServerFailed, ServerUnavailable, WaitTimeout, error_of
from muster.client.target import is_loopback
from muster.errors import Busy, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from muster.client.calls import Call
    from muster.client.profile import Profile
    from muster.jobs.model import Job

T = TypeVar("T")

PATIENCE_S = 45.0
TIMEOUT_S = 30.0
FIRST_LOOK_S = 0.1
LAST_LOOK_S = 1.0


def http_options(server: Profile) -> dict[str, Any]:
    """Return how to make the httpx client.

    Requests to this machine go there directly, whatever proxy the environment names: a proxy
    would see the token.
    """
    return {
        "base_url": server.url,
        "headers": {"Authorization": f"Bearer {server.token.get_secret_value()}"},
        "timeout": TIMEOUT_S,
        "trust_env": not is_loopback(server.url),
        "verify": trusted(server),
    }


def trusted(server: Profile) -> ssl.SSLContext | bool:
    """Return whose certificates are taken from the server, for httpx.

    Raises ``InvalidInput`` for a file that holds no certificate of an authority.
    """
    if server.ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=server.ca_file)
    except OSError as error:
        raise InvalidInput(
            "MUSTER_CA_FILE",
            f"cannot be used ({error})",
            "Give a PEM file with the authority's certificate.",
            value=str(server.ca_file),
        ) from None


def request_options(call: Call[Any]) -> dict[str, Any]:
    """Return the arguments of httpx's ``request`` for a call."""
    options: dict[str, Any] = {"method": call.method, "url": call.path, "params": call.params}
    if call.body is not None:
        options |= {"content": call.body, "headers": {"Content-Type": "application/json"}}
    return options


@contextmanager
def reaching(server: Profile) -> Iterator[None]:
    """Turn failures of the connection into ``ServerUnavailable``."""
    try:
        yield
    except httpx.TransportError as error:
        raise ServerUnavailable(
            f"The server at {server.url} cannot be reached ({str(error) or type(error).__name__}). "
            "Check that it runs, and MUSTER_URL.",
            reached=not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout),
        ) from error


def answer_of(call: Call[T], response: httpx.Response) -> T:
    """Return what the server answered, or raise what went wrong there."""
    if not response.is_success:
        raise error_of(response)
    try:
        return call.answer.validate_json(response.content)
    except ValidationError as error:
        raise ServerFailed(
            f"{call.method} {call.path} was answered in a way that this client does not "
            "understand. Check MUSTER_URL, and that client and server are of one version."
        ) from error


def may_repeat(call: Call[Any], patience_s: float) -> Callable[[Exception], bool | float]:
    """Return stamina's hook: whether to send a call again, or after how many seconds."""

    def hook(error: Exception) -> bool | float:
        if not isinstance(error, Busy | ServerUnavailable):
            return False
        perhaps_done = isinstance(error, ServerUnavailable) and error.reached
        if perhaps_done and not call.repeatable:
            return False
        pause = error.retry_after
        return True if pause is None else pause <= patience_s and pause

    return hook


class Watch:
    """Follows a job until it is over: looks often at first, then once a second."""

    def __init__(self, timeout: float | None, on_progress: Callable[[Job], None] | None) -> None:
        self._deadline = None if timeout is None else monotonic() + timeout
        self._on_progress = on_progress
        self._pause = FIRST_LOOK_S
        self._last: Job | None = None

    def pause_after(self, job: Job) -> float | None:
        """Take note of the job and return the seconds until the next look; None when it is over.

        Raises ``WaitTimeout`` when the time is up.
        """
        if self._on_progress and job != self._last:
            self._on_progress(job)
        self._last = job
        if job.state.terminal:
            return None
        pause = self._pause
        self._pause = min(2 * pause, LAST_LOOK_S)
        if self._deadline is None:
            return pause
        left = self._deadline - monotonic()
        if left <= 0:
            raise WaitTimeout(f"Job {job.id} is still {job.state}. Wait longer, or explain it.")
        return min(pause, left)
