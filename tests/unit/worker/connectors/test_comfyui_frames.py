from __future__ import annotations

from typing import cast

import pytest

from muster.worker.connectors.comfyui.api import Frames, Socket

pytestmark = pytest.mark.anyio


class Script:
    """A websocket that says these things."""

    def __init__(self, *messages: str | bytes) -> None:
        self._messages = list(messages)

    async def recv(self) -> str | bytes:
        return self._messages.pop(0)


async def test_what_custom_nodes_send_in_forms_of_their_own_is_skipped() -> None:
    socket = Script(
        "not JSON", "[1]", b"preview", '{"data": {}}', '{"type": 7, "data": {}}',
        '{"type": "status"}', '{"type": "executing", "data": {"node": null}}',
    )  # fmt: skip

    frame = await Frames(cast("Socket", socket)).next()

    assert frame == {"type": "executing", "data": {"node": None}}
