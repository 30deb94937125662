"""The HTTP server: for a process of its own, or for a thread of a test's."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from muster.simulation.releases.delivery import ConnectionCut

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from starlette.applications import Starlette


class Server(uvicorn.Server):
    """Serves an app until it is told to exit, or killed. Port 0 is a free one.

    ``announce`` is called with its URL when it listens.
    """

    def __init__(
        self,
        app: Starlette,
        listen: str = "127.0.0.1",
        port: int = 0,
        announce: Callable[[str], object] = lambda _: None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=listen,
                port=port,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
            )
        )
        self._announce = announce
        logging.getLogger("uvicorn.error").addFilter(_is_unexpected)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to Python's defaults: SIGTERM ends it at once, transfers and all."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        self._announce(f"http://{host}:{port}")


def _is_unexpected(record: logging.LogRecord) -> bool:
    """Tell a server's error from the connection that a fault cuts."""
    return not (record.exc_info and isinstance(record.exc_info[1], ConnectionCut))
