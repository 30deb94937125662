"""ComfyUI's HTTP and websocket API, as measured with 0.3.64."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from muster.errors import MusterError, NotFound

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from typing import IO

# A ComfyUI that loads a model may answer late, but a dead one refuses the connection at once.
TIMEOUT = httpx.Timeout(30, connect=3)
PROBE_TIMEOUT = httpx.Timeout(3)
MAX_FRAME_BYTES = 64 * 1024 * 1024
READ_BYTES = 1024 * 1024


class Unreachable(MusterError):
    """ComfyUI does not answer."""


class UnexpectedAnswer(MusterError):
    """ComfyUI gave an answer that its API does not know."""


class PromptRefused(MusterError):
    """ComfyUI found the graph invalid. ``problems`` is what it said, shortened."""

    def __init__(self, message: str, problems: dict[str, Any]) -> None:
        super().__init__(message)
        self.problems = problems


class Socket(Protocol):
    """The part of a websocket connection that is used."""

    async def recv(self) -> str | bytes:
        """Wait for the next message."""
        ...


class Frames:
    """What ComfyUI tells one client. ``open`` turns false when the connection ends."""

    def __init__(self, socket: Socket | None) -> None:
        self._socket = socket

    @property
    def open(self) -> bool:
        """Whether more may come."""
        return self._socket is not None

    async def next(self) -> dict[str, Any] | None:
        """Wait for the next frame with ``type`` and ``data``; None once the connection has ended.

        Binary frames (previews) are skipped, and what custom nodes send in forms of their own.
        """
        while self._socket is not None:
            try:
                message = await self._socket.recv()
            except ConnectionClosed:
                self._socket = None
                break
            frame = _as_json(message) if isinstance(message, str) else None
            if (
                isinstance(frame, dict)
                and isinstance(frame.get("type"), str)
                and isinstance(frame.get("data"), dict)
            ):
                return frame
        return None


def _as_json(message: str) -> Any:
    try:
        return json.loads(message)
    except ValueError:
        return None


def open_socket(url: str) -> AbstractAsyncContextManager[Socket]:
    """Connect a websocket. A silent one is met by polling, so that pings are not needed."""
    return connect(
        url,
        proxy=None,
        open_timeout=3,
        close_timeout=0.2,
        ping_interval=None,
        max_size=MAX_FRAME_BYTES,
    )


class ComfyApi:
    """One ComfyUI at ``url``.

    All methods raise ``Unreachable`` when it does not answer and ``UnexpectedAnswer`` when its
    answer is none that the API knows. ``transport`` and ``open_socket`` replace TCP in tests.
    """

    def __init__(
        self,
        url: str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        open_socket: Callable[[str], AbstractAsyncContextManager[Socket]] = open_socket,
    ) -> None:
        self.url = url.rstrip("/")
        self._open_socket = open_socket
        self._http = httpx.AsyncClient(
            base_url=self.url,
            transport=transport,
            timeout=TIMEOUT,
            verify=not self.url.startswith("http://"),  # loading certificates costs 20 ms
            trust_env=False,  # a proxy for the internet is none for the service next door
            # A reused connection that the server closes meanwhile would fail a POST for nothing.
            limits=httpx.Limits(keepalive_expiry=2),
        )

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.aclose()

    async def system_stats(self) -> dict[str, Any]:
        """Probe, quickly."""
        return await self._get("/system_stats", timeout=PROBE_TIMEOUT)

    @asynccontextmanager
    async def listen(self, client_id: str) -> AsyncIterator[Frames]:
        """Open a websocket. If that fails, the frames have ended from the start."""
        scheme = "wss" if urlsplit(self.url).scheme == "https" else "ws"
        address = self.url.partition("://")[2]
        url = f"{scheme}://{address}/ws?clientId={client_id}"
        async with AsyncExitStack() as stack:
            try:
                socket = await stack.enter_async_context(self._open_socket(url))
            except (OSError, WebSocketException):
                socket = None
            yield Frames(socket)

    async def submit(
        self, graph: dict[str, Any], *, prompt_id: str, client_id: str
    ) -> dict[str, Any]:
        """Queue a graph and return its node errors: those outputs are silently dropped.

        Raises ``PromptRefused`` when nothing was queued. A prompt id is not deduplicated.
        """
        body = {"prompt": graph, "prompt_id": prompt_id, "client_id": client_id}
        response = await self._request("POST", "/prompt", json=body)
        if response.status_code == HTTPStatus.BAD_REQUEST:
            raise _refusal(response)
        errors: dict[str, Any] = _parsed(response).get("node_errors") or {}
        return errors

    async def history(self, prompt_id: str) -> dict[str, Any] | None:
        """Return the record of a prompt that is over, else None."""
        record: dict[str, Any] | None = (await self._get(f"/history/{prompt_id}")).get(prompt_id)
        return record

    async def is_queued(self, prompt_id: str) -> bool:
        """Whether a prompt waits or runs."""
        queue = await self._get("/queue")
        items = [*queue.get("queue_running", []), *queue.get("queue_pending", [])]
        return any(item[1] == prompt_id for item in items)

    async def cancel(self, prompt_id: str) -> None:
        """Ask for the end of a prompt, whether it waits or runs. An unknown one is ignored."""
        _expect_ok(await self._request("POST", "/queue", json={"delete": [prompt_id]}))
        _expect_ok(await self._request("POST", "/interrupt", json={"prompt_id": prompt_id}))

    async def upload(self, name: str, file: IO[bytes]) -> str:
        """Store an input file, replacing one of that name, and return how a graph calls it."""
        response = await self._request(
            "POST", "/upload/image", files={"image": (name, file)}, data={"overwrite": "true"}
        )
        stored = _parsed(response)
        subfolder = stored.get("subfolder")
        return f"{subfolder}/{stored['name']}" if subfolder else str(stored["name"])

    async def view(self, filename: str, subfolder: str, kind: str) -> AsyncGenerator[bytes, None]:
        """Read a file in chunks. Raises ``NotFound``."""
        query = {"filename": filename, "subfolder": subfolder, "type": kind}
        try:
            async with self._http.stream("GET", "/view", params=query) as response:
                if response.status_code == HTTPStatus.NOT_FOUND:
                    raise NotFound(f"ComfyUI no longer has the file {filename}.")
                _expect_ok(response)
                async for chunk in response.aiter_bytes(READ_BYTES):
                    yield chunk
        except httpx.TransportError as error:
            raise self._unreachable(error) from None

    async def _get(self, path: str, **options: Any) -> dict[str, Any]:
        return _parsed(await self._request("GET", path, **options))

    async def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return await self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: httpx.TransportError) -> Unreachable:
        reason = str(error) or type(error).__name__
        return Unreachable(f"ComfyUI at {self.url} does not answer: {reason}")


def _expect_ok(response: httpx.Response) -> None:
    if response.status_code != HTTPStatus.OK:
        asked = f"{response.request.method} {response.request.url.path}"
        raise UnexpectedAnswer(f"ComfyUI answered {response.status_code} to {asked}.")


def _parsed(response: httpx.Response) -> dict[str, Any]:
    _expect_ok(response)
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        path = response.request.url.path
        raise UnexpectedAnswer(f"ComfyUI's answer to {path} is not a JSON object.")
    return body


def _refusal(response: httpx.Response) -> PromptRefused:
    try:
        body = response.json()
        error, node_errors = body["error"], body["node_errors"]
        message = f"{error['message']}: {error['details']}".rstrip(": ")
    except (ValueError, KeyError, TypeError):
        return PromptRefused("ComfyUI refused the prompt without a reason.", {})
    kind = {"type": error.get("type"), "message": message}
    return PromptRefused(message, {"error": kind, "node_errors": shortened(node_errors)})


def shortened(node_errors: Any) -> dict[str, Any]:
    """Keep of each node's errors what a person needs; the rest repeats whole model lists."""
    if not isinstance(node_errors, dict):
        return {}
    return {
        node_id: {
            "class_type": entry.get("class_type"),
            "errors": [
                {key: str(error.get(key, ""))[:500] for key in ("type", "message", "details")}
                for error in entry.get("errors", [])
            ],
        }
        for node_id, entry in node_errors.items()
    }
