"""The bare limit: the least that a claim with a lease and an event asks of Redis.

Raw sockets that repeat the same EVALSHA, because any client library would be what is measured.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote, urlsplit

import uvloop
from redis import Redis

if TYPE_CHECKING:
    from collections.abc import Sequence

CLAIM = """
local popped = redis.call('ZPOPMIN', KEYS[1])
if not popped[1] then return 0 end
redis.call('HSET', KEYS[2], popped[1], ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[2], popped[1])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', 10000, '*', 'job', popped[1], 'to', 'running')
return 1
"""
KEYS = ("{bare}:ready", "{bare}:jobs", "{bare}:leases", "{bare}:events")


def claim_rate(url: str, jobs: int, connections: int) -> float:
    """Claim ``jobs`` jobs, one call each, over so many connections at once; return jobs per s."""
    with Redis.from_url(url) as redis:
        redis.delete(*KEYS)
        for first in range(0, jobs, 1000):
            names = {f"job-{n:012}": n for n in range(first, min(first + 1000, jobs))}
            redis.zadd(KEYS[0], names)
        digest = redis.script_load(CLAIM)
        command = _encode(["EVALSHA", digest, "4", *KEYS, "worker-0", "1700000000000"])
        seconds = uvloop.run(_claim_all(url, command, connections))
        left = redis.zcard(KEYS[0])
        redis.delete(*KEYS)
    if left:
        raise RuntimeError(f"{left} jobs were not claimed")
    return jobs / seconds


async def _claim_all(url: str, command: bytes, connections: int) -> float:
    address = urlsplit(url)
    loop = asyncio.get_running_loop()
    claimers = []
    for _ in range(connections):
        _, claimer = await loop.create_connection(
            lambda: _Claimer(command), str(address.hostname), int(address.port or 6379)
        )
        if address.password:
            await claimer.call(_encode(["AUTH", unquote(address.password)]))
        claimers.append(claimer)
    begin = time.perf_counter()
    await asyncio.gather(*(claimer.run() for claimer in claimers))
    return time.perf_counter() - begin


class _Claimer(asyncio.Protocol):
    """One connection that claims again as soon as it is answered, until nothing is left."""

    def __init__(self, command: bytes) -> None:
        self.command = command
        self.answer: asyncio.Future[bytes] | None = None
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        if self.answer:
            self.answer.set_result(data)
            self.answer = None
        elif data == b":1\r\n":
            self.transport.write(self.command)
        elif data == b":0\r\n":
            self.done.set_result(None)
        else:
            self.done.set_exception(RuntimeError(f"Redis answered {data!r}"))

    async def call(self, command: bytes) -> bytes:
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(command)
        return await self.answer

    async def run(self) -> None:
        self.transport.write(self.command)
        try:
            await self.done
        finally:
            self.transport.close()


def _encode(words: Sequence[str]) -> bytes:
    parts = [f"*{len(words)}\r\n", *(f"${len(word.encode())}\r\n{word}\r\n" for word in words)]
    return "".join(parts).encode()
