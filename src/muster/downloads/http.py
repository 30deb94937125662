"""One request of a download: to allowed hosts only, politely, with its answer judged."""

from __future__ import annotations

import random
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import httpx

from muster.downloads import waits
from muster.downloads.errors import DownloadFailed
from muster.downloads.places import Host, parse_url, without_credentials

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from pydantic import SecretStr

    from muster.downloads.pauses import Pauses
    from muster.downloads.places import Places
    from muster.downloads.waits import Schedule

MAX_REDIRECTS = 5
CONNECT_S = 10.0
SILENCE_S = 30.0
READ_OF_ERROR_BYTES = 4096

_ANSWERS_TO = {304: "if-none-match", 416: "range"}
"""Statuses that are of use to a request with that header, and to no other."""


@dataclass(frozen=True, slots=True)
class Token:
    """A credential, and the one host that may see it."""

    host: Host
    secret: SecretStr


class Refused(DownloadFailed):
    """The server, or we, refuse for good: asking again would be in vain."""


class TryLater(DownloadFailed):
    """It may work later: after ``wait_s`` if the host said so, else after a wait of our own.

    ``limited`` when it says that it was asked too often.
    """

    def __init__(
        self, url: str, problem: str, *, wait_s: float | None = None, limited: bool = False
    ) -> None:
        quiet = "" if wait_s is None else f", and asks for {wait_s:.0f} s of quiet"
        super().__init__(
            url, f"{problem}{quiet}", "Asked again until DOWNLOAD_PATIENCE_S was over."
        )
        self.host = Host.of(parse_url(url))
        self.wait_s = wait_s
        self.limited = limited


class Quiet(TryLater):
    """The host asked for quiet before, so it was not asked now."""


class Http:
    """Sends requests as downloads need them. Close it when done.

    A redirect is followed only to a host of ``places``. The ``token`` goes to its own host and to
    no other. A host that asked to be left alone is, by all that share ``pauses``.
    """

    def __init__(
        self, places: Places, pauses: Pauses, schedule: Schedule, token: Token | None = None
    ) -> None:
        self._places = places
        self._pauses = pauses
        self._schedule = schedule
        self._token = token
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(SILENCE_S, connect=CONNECT_S),
            headers={
                # Bytes as they are stored: their digest and their ranges are those of the file.
                "Accept-Encoding": "identity",
                "User-Agent": f"muster/{version('muster-fleet')}",
            },
        )

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()

    @asynccontextmanager
    async def get(
        self, url: str, headers: Mapping[str, str] | None = None, *, follow: bool = True
    ) -> AsyncGenerator[httpx.Response, None]:
        """Ask for a URL and give the answer with its body unread: a success, 304, or 416.

        With ``follow`` false the first redirect is given too, unfollowed. Raises ``Refused`` or
        ``TryLater`` for what is not an answer to use.
        """
        for _ in range(MAX_REDIRECTS + 1):
            async with self._once(url, headers or {}) as response:
                if not response.has_redirect_location or not follow:
                    yield response
                    return
                url = str(response.url.join(response.headers["location"]))
        raise Refused(url, f"it redirects more than {MAX_REDIRECTS} times", "Check the URL.")

    def patience(self, seconds: float) -> Callable[[Exception], bool | float]:
        """Return stamina's hook for one series of tries: the wait before the next, or false.

        A wait that would not end within the patience is not begun. The quiet that a host asks for
        is noted, so that nobody on this machine asks sooner, not even after a restart.
        """
        deadline = time.monotonic() + seconds
        failures = 0

        def hook(error: Exception) -> bool | float:
            nonlocal failures
            if not isinstance(error, TryLater):
                return False
            wait_s = self._wait(error, failures)
            failures += 1
            if not isinstance(error, Quiet) and (error.limited or error.wait_s is not None):
                self._pauses.note(error.host, error.wait_s or wait_s)
            return time.monotonic() + wait_s <= deadline and wait_s

        return hook

    def _wait(self, error: TryLater, failures: int) -> float:
        jitter = random.random()  # noqa: S311  (spreads tries, guards nothing)
        if error.wait_s:
            return error.wait_s + self._schedule.first_s * jitter
        if error.limited and error.wait_s is None:
            return self._schedule.after_limit(failures, jitter)
        return self._schedule.after(failures, jitter)

    @asynccontextmanager
    async def _once(
        self, text: str, headers: Mapping[str, str]
    ) -> AsyncGenerator[httpx.Response, None]:
        try:
            url = self._places.check(text)
        except ValueError as error:
            raise Refused(
                without_credentials(text),
                f"it may not be fetched: {error}",
                "List the host in DOWNLOAD_HOSTS.",
            ) from None
        host = Host.of(url)
        if left := self._pauses.left(host):
            raise Quiet(text, f"{host} asked for quiet", wait_s=left)
        sent = dict(headers)
        if self._token is not None and host == self._token.host:
            sent["Authorization"] = f"Bearer {self._token.secret.get_secret_value()}"
        try:
            async with self._client.stream("GET", url, headers=sent) as response:
                await self._judge(text, host, response)
                yield response
        except httpx.TransportError as error:
            raise TryLater(text, str(error) or type(error).__name__) from None

    async def _judge(self, url: str, host: Host, response: httpx.Response) -> None:
        status = response.status_code
        if response.is_success or response.has_redirect_location:
            return
        if _ANSWERS_TO.get(status, "") in response.request.headers:
            return
        body = ""
        with suppress(httpx.DecodingError):
            async for chunk in response.aiter_bytes(READ_OF_ERROR_BYTES):
                body += chunk.decode(errors="replace")
                if len(body) >= READ_OF_ERROR_BYTES:
                    break
        problem = f"{host} answers {status} {response.reason_phrase}"
        if not waits.is_passing(status, response.headers, body):
            raise Refused(url, problem, _remedy(status))
        raise TryLater(
            url,
            problem,
            wait_s=waits.told_wait(status, response.headers, time.time()),
            limited=waits.is_limit(status, response.headers, body),
        )


def _remedy(status: int) -> str:
    if status in {404, 410}:
        return "Check the release, the file's name and that it is public."
    if status in {401, 403}:
        return "Check that it is public, or the token and what it may read."
    return "Check the URL."
