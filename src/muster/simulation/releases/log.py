"""What was asked of the server and what it answered, told as it happens."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTROL = "/simulation"


@dataclass(slots=True)
class Request:
    """A request as the server saw it, in the order of ``number``.

    ``sent`` counts the bytes of the body that were handed to the connection, ``retry_after`` is
    what the answer told, and ``ended`` whether the server is done with it. Of a credential only the
    presence is noted.
    """

    number: int
    time: float
    client: str
    host: str
    method: str
    path: str
    range: str | None
    if_range: str | None
    if_none_match: str | None
    user_agent: str | None
    authorization: bool
    status: int | None = None
    sent: int = 0
    retry_after: int | None = None
    ended: bool = False

    @property
    def refused(self) -> bool:
        """Whether a limit, or what looks like one, was the answer."""
        return self.status in {403, 429}


class Log:
    """All requests but those of control, the oldest first."""

    def __init__(self, now: Callable[[], float], file: Path | None = None) -> None:
        self.requests: list[Request] = []
        self._now = now
        self._file = file
        self._count = 0

    def clear(self) -> None:
        """Forget all; numbers go on."""
        self.requests.clear()

    def as_json(self) -> list[dict[str, Any]]:
        """Return it as it is shown."""
        return [asdict(request) for request in self.requests]

    def begin(self, scope: Scope) -> Request:
        """Note a request that came."""
        headers = Headers(scope=scope)
        self._count += 1
        request = Request(
            number=self._count,
            time=self._now(),
            client=client_of(scope),
            host=headers.get("host", ""),
            method=scope["method"],
            path=scope["path"],
            range=headers.get("range"),
            if_range=headers.get("if-range"),
            if_none_match=headers.get("if-none-match"),
            user_agent=headers.get("user-agent"),
            authorization="authorization" in headers,
        )
        self.requests.append(request)
        return request

    def end(self, request: Request) -> None:
        """Note that a request is over, however it ended. Once is enough."""
        if request.ended:
            return
        request.ended = True
        if self._file:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(request)) + "\n")


class Recorder:
    """Middleware that keeps the log: around all else, so that it sees what was really sent."""

    def __init__(self, app: ASGIApp, log: Log) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on (ASGI)."""
        if scope["type"] != "http" or _is_control(scope["path"]):
            await self._app(scope, receive, send)
            return
        request = self._log.begin(scope)

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.status = message["status"]
                told = Headers(raw=list(message["headers"])).get("retry-after")
                request.retry_after = int(told) if told else None
            await send(message)
            if message["type"] != "http.response.body":
                return
            if request.method != "HEAD":
                request.sent += len(message.get("body", b""))
            if not message.get("more_body"):
                self._log.end(request)  # Now, so that whoever has the whole body sees it here.

        try:
            await self._app(scope, receive, noting)
        finally:
            self._log.end(request)


def client_of(scope: Scope) -> str:
    """Return the address of the client, without its port."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def _is_control(path: str) -> bool:
    return path == CONTROL or path.startswith(f"{CONTROL}/")
