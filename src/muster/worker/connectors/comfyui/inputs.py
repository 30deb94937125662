"""Brings a job's input files to ComfyUI: fetched by URL, verified, uploaded."""

from __future__ import annotations

import hashlib
from contextlib import aclosing
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING

import httpx

from muster.errors import InvalidInput, NotFound
from muster.worker.connectors.comfyui.failures import (
    INPUT_MISMATCH,
    INPUT_UNAVAILABLE,
    INVALID_PAYLOAD,
    failed,
)
from muster.worker.connectors.comfyui.payload import renamed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from muster.artifacts import ArtifactStore
    from muster.worker.connectors.base import Context
    from muster.worker.connectors.comfyui.api import ComfyApi
    from muster.worker.connectors.comfyui.payload import Graph, InputFile, Payload

MAX_BYTES = 1024**3
IN_MEMORY_BYTES = 8 * 1024 * 1024
MAX_REDIRECTS = 5
PORTS = {"http": 80, "https": 443}


class Inputs:
    """Fetches from the artifact store, and by http(s) from ``hosts``, and from nowhere else.

    A host is listed as ``name`` for the usual port, or as ``name:port``. So a job cannot make a
    worker read what only the worker's network can reach.
    """

    def __init__(
        self, hosts: frozenset[str], *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._transport = transport
        self._opened: httpx.AsyncClient | None = None

    @property
    def _http(self) -> httpx.AsyncClient:
        """The client, made for the first job that needs it: it loads certificates."""
        if self._opened is None:
            timeout = httpx.Timeout(30, connect=5)
            self._opened = httpx.AsyncClient(transport=self._transport, timeout=timeout)
        return self._opened

    async def close(self) -> None:
        """Let go of connections."""
        if self._opened:
            await self._opened.aclose()

    async def bring(self, api: ComfyApi, payload: Payload, context: Context) -> Graph:
        """Upload all inputs under names of this job, and return the graph with those names.

        Raises ``JobFailed``, and what ``ComfyApi`` and ``ArtifactStore`` raise when they are away.
        """
        for name, file in payload.inputs.items():
            if not context.artifacts.holds(file.url) and not self._may_fetch(file.url):
                raise _refused(name, file.url)
        names = {}
        for name, file in payload.inputs.items():
            with SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as copy:
                digest = hashlib.sha256()
                async with aclosing(self._chunks(name, file, context.artifacts)) as chunks:
                    async for chunk in chunks:
                        digest.update(chunk)
                        copy.write(chunk)
                        if copy.tell() > MAX_BYTES:
                            raise _bad(INPUT_MISMATCH, name, f"is larger than {MAX_BYTES} bytes")
                if file.sha256 is not None and digest.hexdigest() != file.sha256.lower():
                    raise _bad(INPUT_MISMATCH, name, f"has SHA-256 {digest.hexdigest()}")
                copy.seek(0)
                unique = f"{context.job_id}-{context.attempt}-{name}"
                names[name] = await api.upload(unique, copy)
        return renamed(payload.graph(), names)

    def _may_fetch(self, address: str) -> bool:
        # By the parser of the client that fetches: two parsers may see two hosts in one URL.
        try:
            url = httpx.URL(address)
        except httpx.InvalidURL:
            return False
        if url.scheme not in PORTS or url.userinfo:
            return False
        port = url.port or PORTS[url.scheme]
        usual = port == PORTS[url.scheme] and url.host in self._hosts
        return usual or f"{url.host}:{port}" in self._hosts

    async def _chunks(
        self, name: str, file: InputFile, store: ArtifactStore
    ) -> AsyncGenerator[bytes, None]:
        if not store.holds(file.url):
            async with aclosing(self._fetched(name, file.url)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        try:
            async for chunk in store.get(file.url):
                yield chunk
        except NotFound:
            raise _bad(INPUT_UNAVAILABLE, name, "is not in the artifact store") from None
        except InvalidInput as error:
            raise _bad(INVALID_PAYLOAD, name, str(error)) from None

    async def _fetched(self, name: str, url: str) -> AsyncGenerator[bytes, None]:
        try:
            for _ in range(MAX_REDIRECTS + 1):
                async with self._http.stream("GET", url) as response:
                    redirect = response.next_request
                    if redirect is None:
                        _expect_success(name, response)
                        async for chunk in response.aiter_bytes():
                            yield chunk
                        return
                    url = str(redirect.url)
                    if not self._may_fetch(url):
                        raise _refused(name, url)
        except httpx.TransportError as error:
            problem = f"cannot be fetched from {_place(url)}: {str(error) or type(error).__name__}"
            raise failed(INPUT_UNAVAILABLE, f"payload.inputs.{name}: {problem}") from None
        raise _bad(INPUT_UNAVAILABLE, name, f"redirects more than {MAX_REDIRECTS} times")


def _expect_success(name: str, response: httpx.Response) -> None:
    if response.is_success:
        return
    problem = f"{_place(str(response.url))} answered {response.status_code}"
    raise failed(
        INPUT_UNAVAILABLE,
        f"payload.inputs.{name}: {problem}",
        retryable=response.is_server_error or response.status_code in {408, 429},
    )


def _refused(name: str, url: str) -> Exception:
    problem = (
        f"may not be fetched from {_place(url)}. Use a URL of the artifact store, "
        "or list the host in INPUT_HOSTS"
    )
    return _bad(INVALID_PAYLOAD, name, problem)


def _bad(kind: str, name: str, problem: str) -> Exception:
    return failed(kind, f"payload.inputs.{name}: {problem}", retryable=False)


def _place(url: str) -> str:
    """Return a URL without what may be secret: user, path, signature."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return "what is no URL"
    return f"{parsed.scheme}://{parsed.host}" if parsed.host else f"{parsed.scheme}:…"
