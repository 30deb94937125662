"""Servers that answer what a test says, on a clock that only waiting moves."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from muster.downloads import fetching, http, pauses
from muster.downloads.content import Content
from muster.downloads.fetching import Fetcher
from muster.downloads.http import Http
from muster.downloads.models import Models
from muster.downloads.packages import Packages
from muster.downloads.partial import Partial
from muster.downloads.pauses import Pauses
from muster.downloads.places import Host, Places
from muster.downloads.settings import DownloadSettings
from muster.downloads.store import Store
from muster.downloads.waits import Schedule
from support.downloads import SIZE, FakeFetcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    import respx

    from muster.downloads.http import Token

    Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]

HOSTS = ("github.com", "objects.example")


@dataclass
class Clock:
    """A clock for ``time`` and for waits between tries: it moves when somebody waits, at once.

    With a ``tick`` it moves whenever it is read, too.
    """

    now: float = 1_700_000_000.0
    tick: float = 0.0
    slept: list[float] = field(default_factory=list)

    def time(self) -> float:
        self.now += self.tick
        return self.now

    monotonic = time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@dataclass(frozen=True)
class Asked:
    """A request as the server saw it."""

    url: str
    headers: httpx.Headers
    at: float


class Body(httpx.AsyncByteStream):
    """Pieces as they arrive. An exception breaks the connection; a number passes so much time."""

    def __init__(self, clock: Clock, *pieces: bytes | float | Exception) -> None:
        self._clock = clock
        self._pieces = pieces
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, bytes):
                self.sent += len(piece)
                yield piece
            else:
                self._clock.now += piece


class Web:
    """All servers there are. A request that ``serve`` was told no answer for fails the test."""

    def __init__(self, router: respx.MockRouter, clock: Clock) -> None:
        router.route().mock(side_effect=self._answer)
        self._clock = clock
        self._answers: dict[str, Iterator[Answer]] = {}
        self.asked: list[Asked] = []
        self.body = partial(Body, clock)

    def serve(self, url: str, *answers: Answer, last_for_ever: bool = False) -> None:
        """Give these answers to that URL in turn."""
        self._answers[url] = chain(answers, repeat(answers[-1]) if last_for_ever else ())

    def _answer(self, request: httpx.Request) -> httpx.Response:
        url = str(request.url)
        self.asked.append(Asked(url, request.headers, self._clock.now))
        answer = next(self._answers.get(url, iter(())), None)
        assert answer, f"{url} was asked once more than expected"
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer

    def cut(self, content: bytes, **headers: str) -> httpx.Response:
        """Return an answer that breaks off after so much."""
        body = self.body(content, httpx.RemoteProtocolError("cut"))
        return httpx.Response(200, headers=headers, stream=body)

    def file(self, content: bytes, etag: str) -> Callable[[httpx.Request], httpx.Response]:
        """Return an answer as RFC 9110 wants it: a part, if it is asked for of this version."""

        def answer(request: httpx.Request) -> httpx.Response:
            wanted = request.headers.get("range", "")
            if not wanted or request.headers.get("if-range") != etag:
                return httpx.Response(200, headers={"ETag": etag}, content=content)
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return httpx.Response(416, headers={"Content-Range": f"bytes */{len(content)}"})
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            headers = {"ETag": etag, "Content-Range": span}
            return httpx.Response(206, headers=headers, content=content[start:])

        return answer


@dataclass
class Progress:
    """What a progress callback was told."""

    told: list[tuple[int, int | None]] = field(default_factory=list)

    def __call__(self, done: int, total: int | None) -> None:
        self.told.append((done, total))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def server() -> FakeFetcher:
    return FakeFetcher()


@pytest.fixture
def packages(store: Store, server: FakeFetcher) -> Packages:
    return Packages(store, server)


@pytest.fixture
def models(store: Store) -> Models:
    """Room for three models, which need not stay for long."""
    return Models(store, budget=3 * SIZE, residency_s=0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of downloads; nobody sleeps for real."""
    clock = Clock()
    for module in (http, fetching, pauses):
        monkeypatch.setattr(module, "time", clock)
    # Not asyncio's own: servers of other tests may run in this loop, and sleep for real.
    monkeypatch.setattr("stamina._core._smart_sleep", clock.sleep)
    return clock


@pytest.fixture
def web(respx_mock: respx.MockRouter, clock: Clock) -> Web:
    return Web(respx_mock, clock)


@pytest.fixture
async def make_http(tmp_path: Path, clock: Clock) -> AsyncIterator[Callable[..., Http]]:
    """Make what sends requests; all of a test share their pauses, as on one machine."""
    made: list[Http] = []

    def make(*, token: Token | None = None, schedule: Schedule | None = None) -> Http:
        places = Places(frozenset(map(Host.parse, HOSTS)))
        made.append(Http(places, Pauses(tmp_path / "pauses"), schedule or Schedule(), token))
        return made[-1]

    yield make
    for http_ in made:
        await http_.close()


@pytest.fixture
def fetcher(make_http: Callable[..., Http]) -> Fetcher:
    """A fetcher as machines have it, with 900 s of patience."""
    return Fetcher(make_http(), patience_s=900)


@pytest.fixture
async def part(tmp_path: Path) -> AsyncIterator[Partial]:
    """A download that nothing has arrived of yet."""
    part = Partial(tmp_path / "partial" / "file.part")
    await part.open()
    yield part
    await part.close()


@pytest.fixture
def progress() -> Progress:
    return Progress()


@pytest.fixture
def content_of() -> Callable[[bytes], Content]:
    """Say what a file must be, from its bytes."""
    return lambda data: Content(hashlib.sha256(data).hexdigest(), len(data))


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[..., DownloadSettings]:
    """Load settings from exactly these environment variables."""
    for setting in DownloadSettings.model_fields.values():
        monkeypatch.delenv(str(setting.alias), raising=False)

    def load(**environment: Any) -> DownloadSettings:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return DownloadSettings.load()

    return load
