"""The store itself: one face over a local folder and the common object storages."""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from muster.artifacts.model import Artifact, ArtifactMismatch, ArtifactsUnavailable
from muster.artifacts.paths import checked_base, checked_path, path_of, url_of
from muster.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator

    from obstore.store import ObjectStore

PART_BYTES = 8 * 1024 * 1024
PARTS_IN_FLIGHT = 4
READ_BYTES = 1024 * 1024


class ArtifactStore:
    """Keeps files under one URL: ``file:///…``, ``s3://``, ``gs://``, ``az://`` or ``memory://``.

    Credentials come from the environment, in the names that each cloud's own tools use. The
    folder of a ``file://`` URL is made when it is missing. Raises ``InvalidInput`` for a URL that
    cannot be used.
    """

    def __init__(self, url: str) -> None:
        self.url = checked_base(url)
        self._store = _open(self.url)

    def holds(self, url: str) -> bool:
        """Whether ``url`` names a file of this store (that need not exist)."""
        return url.startswith(f"{self.url}/")

    async def put(self, path: str, chunks: AsyncIterable[bytes] | bytes) -> Artifact:
        """Write a file and return what was written.

        The file appears whole or not at all, and memory stays bounded whatever its size. A file
        that is already there is replaced. Raises ``InvalidInput`` for a bad path and
        ``ArtifactsUnavailable``; what ``chunks`` raises is passed on.
        """
        digest = hashlib.sha256()
        size = 0
        # Only close() makes the file appear: a writer that is dropped leaves nothing visible.
        writer = obstore.open_writer_async(
            self._store,
            checked_path(path),
            buffer_size=PART_BYTES,
            max_concurrency=PARTS_IN_FLIGHT,
        )
        async for chunk in _as_stream(chunks):
            digest.update(chunk)
            size += len(chunk)
            with self._explained("write"):
                await writer.write(chunk)
        with self._explained("write"):
            await writer.close()
        return Artifact(url=url_of(self.url, path), size=size, sha256=digest.hexdigest())

    async def get(
        self, url: str, *, size: int | None = None, sha256: str | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Read a file in chunks, and verify its size and digest where they are given.

        The verdict stands only once all chunks are read. Raises ``InvalidInput`` for a URL that is
        not in this store, ``NotFound``, ``ArtifactMismatch`` and ``ArtifactsUnavailable``.
        """
        path = path_of(self.url, url)
        digest = hashlib.sha256()
        read = 0
        with self._explained("read"):
            try:
                result = await obstore.get_async(self._store, path)
            except FileNotFoundError:
                raise NotFound(f"There is no artifact {url}.") from None
            async for chunk in result.stream(min_chunk_size=READ_BYTES):
                digest.update(chunk)
                read += len(chunk)
                yield bytes(chunk)
        if size is not None and read != size:
            raise ArtifactMismatch(f"{url} has {read} bytes, not {size}.")
        if sha256 is not None and digest.hexdigest() != sha256.lower():
            raise ArtifactMismatch(f"{url} has SHA-256 {digest.hexdigest()}, not {sha256}.")

    @contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            reason = _reason(error)
            raise ArtifactsUnavailable(f"Could not {verb} at {self.url}: {reason}") from None


def _open(url: str) -> ObjectStore:
    try:
        return from_url(url, mkdir=True) if url.startswith("file:") else from_url(url)
    except (BaseError, ValueError, OSError) as error:
        raise InvalidInput(
            "ARTIFACTS_URL",
            f"cannot be opened: {_reason(error)}",
            "Check the folder's permissions, or the cloud's environment variables.",
            value=url,
        ) from None


async def _as_stream(chunks: AsyncIterable[bytes] | bytes) -> AsyncIterator[bytes]:
    if isinstance(chunks, bytes):
        yield chunks
        return
    async for chunk in chunks:
        yield chunk


def _reason(error: Exception) -> str:
    """Return an error's first line; the rest is debug output, and a query may hold a signature."""
    first_line = str(error).partition("\n")[0]
    return re.sub(r"\?\S+", "?…", first_line)
