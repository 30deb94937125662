"""Which part of a file a request is for, as RFC 9110 says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.datastructures import Headers

    from muster.simulation.releases.folder import Version

_RANGE = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Selection:
    """The bytes from ``start`` up to ``end``, and the status that goes with them."""

    status: HTTPStatus
    start: int
    end: int

    @property
    def length(self) -> int:
        """How many bytes that are."""
        return self.end - self.start

    def headers(self, version: Version) -> dict[str, str]:
        """Return the headers that tell it."""
        told = {"Accept-Ranges": "bytes"}
        if version.etag:
            told["ETag"] = version.etag
        if version.last_modified:
            told["Last-Modified"] = version.last_modified
        if self.status is HTTPStatus.NOT_MODIFIED:
            return told
        if self.status is HTTPStatus.PARTIAL_CONTENT:
            told["Content-Range"] = f"bytes {self.start}-{self.end - 1}/{version.size}"
        if self.status is HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            told["Content-Range"] = f"bytes */{version.size}"
        return told | {
            "Content-Length": str(self.length),
            "Content-Type": "application/octet-stream",
        }


def select(method: str, headers: Headers, version: Version) -> Selection:
    """Return what a request with these headers gets.

    A range that is malformed, or several in one request, are ignored, as they may be; so is one of
    a HEAD request.
    """
    if _is_known(headers.get("if-none-match"), version.etag):
        return Selection(HTTPStatus.NOT_MODIFIED, 0, 0)
    whole = Selection(HTTPStatus.OK, 0, version.size)
    wanted = headers.get("range")
    if method != "GET" or wanted is None or not _still_valid(headers.get("if-range"), version):
        return whole
    span = _span(wanted, version.size)
    if span is None:
        return whole
    start, end = span
    if start >= end:
        return Selection(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, 0)
    return Selection(HTTPStatus.PARTIAL_CONTENT, start, end)


def _is_known(if_none_match: str | None, etag: str | None) -> bool:
    if if_none_match is None or etag is None:
        return False
    known = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in known or etag in known


def _still_valid(if_range: str | None, version: Version) -> bool:
    """Whether a part may be sent. A weak ETag is not enough, so it never equals ours."""
    return if_range is None or if_range in {version.etag, version.last_modified}


def _span(text: str, size: int) -> tuple[int, int] | None:
    """Return start and end, an empty span where the file has no such bytes, or None."""
    match = _RANGE.fullmatch(text)
    if not match or not (match[1] or match[2]):
        return None
    if not match[1]:
        return max(0, size - int(match[2])), size
    start = int(match[1])
    if not match[2]:
        return start, size
    last = int(match[2])
    return (start, min(last + 1, size)) if start <= last else None
