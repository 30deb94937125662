"""Running the server as a process."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import sys
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from muster.errors import InvalidInput
from muster.jobs.connection import check, connect
from muster.server.app import create_app
from muster.server.auth import TokensFile
from muster.server.monitor.serving import TRANSPORT

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

    from muster.server.settings import ServerSettings

DRAIN_S = 10
KEEP_ALIVE_S = 30  # the page asks every 5 s when it has no stream; uvicorn would wait just as long
UNSENT_BYTES = 16 * 1024
"""For so much that a peer does not take, writing goes on; beyond, a stalled one is noticed."""


def serve(settings: ServerSettings) -> None:
    """Serve until SIGINT or SIGTERM; requests under way are finished first.

    Before it listens it makes sure that it can work: raises ``InvalidInput`` for an unusable
    tokens file, certificate or address, ``RedisUnavailable`` for a Redis that is unreachable,
    refuses us or may evict keys.
    """
    TokensFile(settings.tokens_file).entries()
    tls = _tls(settings)
    asyncio.run(_check_redis(settings))
    _end_well_on_signals()
    with _listen(settings) as listening:
        app = create_app(settings)
        config = uvicorn.Config(
            app,
            http=_Connection,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_S,
            timeout_keep_alive=KEEP_ALIVE_S,
            **tls,
        )
        _Server(config, app).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Ends the live streams before it waits for requests to finish."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and finish what is under way."""
        self._app.state.monitor.close()
        await super().shutdown(sockets)


class _Connection(HttpToolsProtocol):
    """Tells the app its transport, so that it can cut off a peer that takes nothing."""

    def connection_made(  # type: ignore[override]
        self, transport: asyncio.Transport
    ) -> None:
        transport.set_write_buffer_limits(high=UNSENT_BYTES)
        app = self.config.loaded_app

        async def with_transport(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[TRANSPORT] = transport
            await app(scope, receive, send)

        self.app = with_transport
        super().connection_made(transport)


def _end_well_on_signals() -> None:
    """Make SIGINT and SIGTERM end the process with 0.

    While uvicorn serves it takes them itself; when it has finished it sends them once more, to
    whom they would have gone without it.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))


async def _check_redis(settings: ServerSettings) -> None:
    redis = connect(settings)
    try:
        await check(redis, settings)
    finally:
        await redis.aclose()


def _tls(settings: ServerSettings) -> dict[str, Any]:
    """Return uvicorn's options for TLS; certificate and key are seen to be fit for it."""
    if settings.tls_cert_file is None:
        return {}
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        # The password is asked for on a terminal otherwise.
        context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file, password="")
    except (OSError, ValueError) as error:
        raise InvalidInput(
            "MUSTER_TLS_CERT_FILE and MUSTER_TLS_KEY_FILE",
            f"cannot be used ({error})",
            "Give the PEM files of a certificate and of its own key, which has no password.",
            value=str(settings.tls_cert_file),
        ) from None
    return {"ssl_certfile": settings.tls_cert_file, "ssl_keyfile": settings.tls_key_file}


def _listen(settings: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listening = socket.create_server(
            (settings.host, settings.port), family=family, backlog=1024
        )
    except OSError as error:
        raise InvalidInput(
            "MUSTER_HOST and MUSTER_PORT",
            f"cannot be listened on ({error.strerror})",
            "Use an address of this machine and a free port.",
            value=f"{settings.host}:{settings.port}",
        ) from None
    if hasattr(
        socket, "TCP_NOTSENT_LOWAT"
    ):  # how much waits in the kernel, beyond what is under way
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    return listening
