"""The monitor's page: its files, read once, compressed once."""

from __future__ import annotations

import gzip
import mimetypes
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Request, Response

from muster.errors import NotFound
from muster.server.monitor.frames import accepts_gzip

if TYPE_CHECKING:
    from collections.abc import Mapping

INDEX = "index.html"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; worker-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class WebFile:
    """A file as it is sent."""

    content: bytes
    compressed: bytes
    media_type: str
    etag: str


def read_web_files(folder: FilePath) -> Mapping[str, WebFile]:
    """Return the files below a folder, by their paths in it."""
    return {
        path.relative_to(folder).as_posix(): _read(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@router.api_route("/", methods=["GET", "HEAD"])
async def index(request: Request) -> Response:
    """Return the page."""
    return _answer(request, INDEX)


@router.api_route("/web/{path:path}", methods=["GET", "HEAD"])
async def file(request: Request, path: Annotated[str, Path(max_length=256)]) -> Response:
    """Return one of the page's files."""
    return _answer(request, path)


def _answer(request: Request, path: str) -> Response:
    found: WebFile | None = request.app.state.web_files.get(path)
    if found is None:
        raise NotFound(f"There is no file {path!r} here.")
    headers = HEADERS | {"ETag": found.etag}
    if found.etag in request.headers.get("If-None-Match", ""):
        return Response(status_code=304, headers=headers)
    if accepts_gzip(request.headers.get("Accept-Encoding", "")):
        headers["Content-Encoding"] = "gzip"
        return Response(found.compressed, media_type=found.media_type, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)


def _read(path: FilePath) -> WebFile:
    content = path.read_bytes()
    # mimetypes asks the system too, which may know JavaScript by another name, or not at all.
    own = {".js": "text/javascript", ".mjs": "text/javascript", ".svg": "image/svg+xml"}
    guessed = own.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    return WebFile(
        content=content,
        compressed=gzip.compress(content, mtime=0),
        media_type=guessed or "application/octet-stream",
        etag=f'"{blake2b(content, digest_size=12).hexdigest()}"',
    )
