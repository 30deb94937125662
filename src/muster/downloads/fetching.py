"""Fetching files: resumed where they broke off, retried with patience, verified before use."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import stamina

from muster.downloads.errors import ContentMismatch
from muster.downloads.http import Http, Refused, TryLater
from muster.downloads.pauses import Pauses
from muster.downloads.waits import Schedule

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import httpx

    from muster.downloads.content import Content
    from muster.downloads.partial import Partial
    from muster.downloads.settings import DownloadSettings

    OnProgress = Callable[[int, int | None], None]
    """Told how many bytes are there, and of how many if that is known."""

PROGRESS_BYTES = 1024 * 1024
"""A connection that brought so much before it broke is taken up again at once."""

SLOW_BYTES = 16 * 1024
SLOW_S = 30.0
"""One that brings less than this within the time is given up: a trickle is no transfer."""

TEXT_BYTES = 64 * 1024
_CONTENT_TRIES = 2


@dataclass(frozen=True, slots=True)
class Text:
    """A small text and its ETag, with which it can be asked whether it changed."""

    text: str
    etag: str


@asynccontextmanager
async def open_fetcher(settings: DownloadSettings) -> AsyncIterator[Fetcher]:
    """Give a fetcher for a store: it goes where the settings allow, and closes its connections."""
    pauses = Pauses(settings.store_dir / "pauses")
    http = Http(settings.places, pauses, Schedule(), settings.token)
    try:
        yield Fetcher(http, patience_s=settings.download_patience_s)
    finally:
        await http.close()


class Fetcher:
    """Fetches by URL. ``patience_s`` bounds a series of tries in which nothing arrives."""

    def __init__(self, http: Http, *, patience_s: float) -> None:
        self._http = http
        self._patience_s = patience_s

    async def redirect(self, url: str) -> str:
        """Return where a URL leads first. Raises ``DownloadFailed``, also if it leads nowhere."""
        async for attempt in self._attempts():
            with attempt:
                async with self._http.get(url, follow=False) as response:
                    if response.has_redirect_location:
                        return str(response.url.join(response.headers["location"]))
        raise Refused(url, "it should redirect, and does not", "Check the release's host.")

    async def text(self, url: str, known: Text | None = None) -> Text:
        """Return a small text; ``known`` itself if it is unchanged. Raises ``DownloadFailed``."""
        headers = {"If-None-Match": known.etag} if known and known.etag else {}
        body = bytearray()
        etag = ""
        async for attempt in self._attempts():
            with attempt:
                async with self._http.get(url, headers) as response:
                    if response.status_code == 304 and known:
                        return known
                    etag = response.headers.get("etag", "")
                    body.clear()
                    async for chunk in response.aiter_raw():
                        body += chunk
                        if len(body) > TEXT_BYTES:
                            raise Refused(
                                url, f"it is larger than {TEXT_BYTES} bytes", "Check the URL."
                            )
        return Text(body.decode(errors="replace"), etag)

    async def file(
        self, url: str, part: Partial, content: Content, on_progress: OnProgress
    ) -> None:
        """Fetch what is missing of a file into ``part``, and verify all of it.

        Raises ``DownloadFailed``; ``ContentMismatch`` if the server gives something else twice:
        once may be a fault on the way, or in what was resumed. ``part`` is left empty then.
        """
        for tries in range(1, _CONTENT_TRIES + 1):
            await self._fill(url, part, content.size, on_progress)
            try:
                # Without a query, which may hold a signature.
                content.check(url.partition("?")[0], size=part.size, sha256=part.sha256)
            except ContentMismatch:
                part.restart("")
                if tries == _CONTENT_TRIES:
                    raise
            else:
                return

    async def _fill(
        self, url: str, part: Partial, size: int | None, on_progress: OnProgress
    ) -> None:
        done = False
        while not done:
            async for attempt in self._attempts():
                with attempt:
                    done = await self._transfer(url, part, size, on_progress)

    async def _transfer(
        self, url: str, part: Partial, size: int | None, on_progress: OnProgress
    ) -> bool:
        """Take over what one request brings; return whether that was all."""
        before = part.size
        headers = {}
        if part.size and (validator := part.validator):
            headers = {"Range": f"bytes={part.size}-", "If-Range": validator}
        try:
            async with self._http.get(url, headers) as response:
                if response.status_code == 416:
                    return self._beyond(part, response)
                total = _begin(part, response, url)
                size = total if size is None else size
                part.check_space(size)
                await self._receive(url, part, response, size, on_progress)
        except TryLater:
            await part.flush()
            if part.size - before < PROGRESS_BYTES:
                raise
            return False
        await part.flush()
        return True

    async def _receive(
        self,
        url: str,
        part: Partial,
        response: httpx.Response,
        size: int | None,
        on_progress: OnProgress,
    ) -> None:
        since, at_then = time.monotonic(), part.size
        async for chunk in response.aiter_raw():
            await part.append(chunk)
            on_progress(part.size, size)
            if size is not None and part.size > size:
                return  # it is another file, however much there is of it
            if part.size - at_then >= SLOW_BYTES:
                since, at_then = time.monotonic(), part.size
            elif time.monotonic() - since > SLOW_S:
                raise TryLater(url, f"it brings less than {SLOW_BYTES} bytes in {SLOW_S:g} s")

    def _beyond(self, part: Partial, response: httpx.Response) -> bool:
        """Judge that the server has nothing behind what is there: it is all, or of another file."""
        if response.headers.get("content-range", "") == f"bytes */{part.size}":
            return True
        part.restart("")
        return False

    def _attempts(self) -> AsyncIterator[stamina.Attempt]:
        hook = self._http.patience(self._patience_s)
        return aiter(stamina.retry_context(on=hook, attempts=None, timeout=None))


def _begin(part: Partial, response: httpx.Response, url: str) -> int | None:
    """Make ``part`` ready for the body; return how large the whole file is, if that is said."""
    headers = response.headers
    if headers.get("content-encoding", "identity") != "identity":
        raise Refused(
            url, "it is sent encoded although that was not asked for", "Use another host."
        )
    if response.status_code == 206:
        unit, _, ranges = headers.get("content-range", "").partition(" ")
        span, _, total = ranges.partition("/")
        if unit == "bytes" and span.partition("-")[0] == str(part.size):
            return int(total) if total.isdigit() else None
        part.restart("")
        raise TryLater(url, "the server sent another part than was asked for")
    part.restart(_validator(headers))
    length = headers.get("content-length", "")
    return int(length) if length.isdigit() else None


def _validator(headers: httpx.Headers) -> str:
    """Return what ``If-Range`` may hold (RFC 9110, section 13.1.5): no weak ETag."""
    etag: str = headers.get("etag", "")
    if etag and not etag.startswith("W/"):
        return etag
    return str(headers.get("last-modified", ""))
