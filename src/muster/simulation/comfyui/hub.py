"""The websockets of a simulated ComfyUI: who is connected, and what is sent to whom."""

from __future__ import annotations

import asyncio
import json
import struct
import uuid
from typing import TYPE_CHECKING, Any

from starlette.websockets import WebSocketDisconnect

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

FEATURES = {"supports_preview_metadata": True, "max_upload_size": 104857600}
PREVIEW_IMAGE = 1
PREVIEW_IMAGE_WITH_METADATA = 4
PNG_FORMAT = 2


class Hub:
    """Sends frames in the order in which they were given, from one task, as ComfyUI does."""

    def __init__(self) -> None:
        self._sockets: dict[str, WebSocket] = {}
        self._with_metadata: set[str] = set()
        self._outbox: asyncio.Queue[tuple[str | None, str | bytes]] = asyncio.Queue()

    def register(self, client_id: str | None, socket: WebSocket) -> str:
        """Add a socket and return its id. An older one with that id hears nothing more."""
        sid = client_id or uuid.uuid4().hex
        self._sockets[sid] = socket
        return sid

    def unregister(self, sid: str) -> None:
        """Forget an id, even if a newer socket has it by now: a trap of ComfyUI's."""
        self._sockets.pop(sid, None)
        self._with_metadata.discard(sid)

    def connected(self, sid: str) -> bool:
        """Whether a client of that id hears what is sent to it."""
        return sid in self._sockets

    async def listen(self, sid: str, socket: WebSocket) -> None:
        """Read what a client says until it leaves."""
        while True:
            try:
                message = json.loads(await socket.receive_text())
            except WebSocketDisconnect:
                return
            if message.get("type") == "feature_flags":
                if message.get("data", {}).get("supports_preview_metadata"):
                    self._with_metadata.add(sid)
                self.send("feature_flags", FEATURES, sid)

    def send(self, event: str, data: dict[str, Any], sid: str | None = None) -> None:
        """Send a text frame to one client, or to all."""
        self._outbox.put_nowait((sid, json.dumps({"type": event, "data": data})))

    def send_preview(self, image: bytes, metadata: dict[str, Any], sid: str) -> None:
        """Send a binary frame, in the form that the client asked for."""
        if sid in self._with_metadata:
            head = json.dumps({**metadata, "image_type": "image/png"}).encode()
            frame = struct.pack(">II", PREVIEW_IMAGE_WITH_METADATA, len(head)) + head + image
        else:
            frame = struct.pack(">II", PREVIEW_IMAGE, PNG_FORMAT) + image
        self._outbox.put_nowait((sid, frame))

    async def publish(self) -> None:
        """Send what is to be sent, for ever."""
        while True:
            sid, frame = await self._outbox.get()
            for socket in self._addressed(sid):
                try:
                    if isinstance(frame, str):
                        await socket.send_text(frame)
                    else:
                        await socket.send_bytes(frame)
                except (WebSocketDisconnect, RuntimeError):
                    continue  # it left meanwhile; its own handler unregisters it

    async def drop(self) -> None:
        """Close every socket."""
        for socket in list(self._sockets.values()):
            await socket.close(1012)

    def _addressed(self, sid: str | None) -> list[WebSocket]:
        if sid is None:
            return list(self._sockets.values())
        return [self._sockets[sid]] if sid in self._sockets else []
