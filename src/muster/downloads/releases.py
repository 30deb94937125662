"""Releases, and the direct URLs of their files.

The direct URLs are those of GitHub's release pages
(https://docs.github.com/en/repositories/releasing-projects-on-github/linking-to-releases). They
need no token and do not count against the API's limits; the API's own URLs do, and answer JSON.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from muster.downloads.places import Host, parse_url, without_credentials

LATEST = "latest"

_OWNER = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})"
_REPO = r"(?!\.{1,2}(?:[/@]|$))[A-Za-z0-9._-]{1,100}"
_REPOSITORY = rf"{_OWNER}/{_REPO}"
_TAG = r"[A-Za-z0-9](?:[A-Za-z0-9._+@-]|/(?=[A-Za-z0-9]))*"
_ASSET = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}"
_SHORT = re.compile(rf"({_REPOSITORY})@({_TAG})")
_DIRECT = re.compile(rf"/({_REPOSITORY})/releases/download/({_TAG})/({_ASSET})")
_DIRECT_LATEST = re.compile(rf"/({_REPOSITORY})/releases/latest/download/({_ASSET})")
_OF_API = re.compile(rf"(?:/api/v3)?/repos/({_REPOSITORY})/releases/(?:latest|tags/({_TAG})).*")
_ASSET_NAME = re.compile(_ASSET)
_LONGEST_TAG = 100

FORMS = "owner/repo@v1.2.3, owner/repo@latest, or the direct URL of the file"


class CredentialsInUrl(ValueError):
    """A URL holds a user or password; ``instead`` is what to use. Neither shows them."""

    def __init__(self, instead: str) -> None:
        super().__init__("holds a user or password")
        self.instead = instead


@dataclass(frozen=True, slots=True)
class Release:
    """One file of a release. ``tag`` is None for whichever release is the latest."""

    host: Host
    repository: str
    tag: str | None
    asset: str

    @property
    def url(self) -> str:
        """The direct URL of the file."""
        pages = f"{self.host}/{self.repository}/releases"
        if self.tag is None:
            return f"{pages}/latest/download/{self.asset}"
        return f"{pages}/download/{quote(self.tag, safe='/@+')}/{self.asset}"

    @property
    def checksum(self) -> Release:
        """The file beside it that holds its SHA-256, as ``sha256sum`` writes it."""
        return replace(self, asset=f"{self.asset}.sha256")

    def at(self, tag: str) -> Release:
        """Return the same file of another release."""
        return replace(self, tag=tag)

    def __str__(self) -> str:
        return f"{self.repository}@{self.tag or LATEST}"


def parse_release(text: str, *, host: Host, asset: str) -> Release:
    """Read ``owner/repo@tag``, ``owner/repo@latest``, or a direct URL.

    ``host`` and ``asset`` complete the short forms; a URL brings its own. Raises ``ValueError``
    that says what is wrong, with the URL to use instead where there is one.
    """
    check_asset(asset)
    if "://" in text:
        return _parse_url(text, host, asset)
    short = _SHORT.fullmatch(text)
    if not short:
        raise ValueError(f"it is not {FORMS}")
    return Release(host, short[1], _checked_tag(short[2]), asset)


def check_asset(asset: str) -> None:
    """Raise ``ValueError`` unless it can be the name of a release's file."""
    if not _ASSET_NAME.fullmatch(asset):
        raise ValueError(f"the asset {asset!r} is not a file's name")


def release_of(url: str) -> Release | None:
    """Return the release that a direct URL names, or None if it is not one."""
    try:
        parsed = parse_url(url)
    except ValueError:
        return None
    path = parsed.path  # without its percent-encoding
    if found := _DIRECT.fullmatch(path):
        if found[2] == LATEST or len(found[2]) > _LONGEST_TAG:
            return None
        return Release(Host.of(parsed), found[1], found[2], found[3])
    if found := _DIRECT_LATEST.fullmatch(path):
        return Release(Host.of(parsed), found[1], None, found[2])
    return None


def _parse_url(text: str, host: Host, asset: str) -> Release:
    url = without_credentials(text)
    path = unquote(url.partition("://")[2].partition("/")[2].partition("?")[0])
    if found := _OF_API.fullmatch(f"/{path}"):
        tag = _checked_tag(found[2]) if found[2] else None
        right = Release(host, found[1], tag, asset).url
        if url != text:
            raise CredentialsInUrl(right)
        raise ValueError(f"it is an API's address, which is limited and answers JSON; use {right}")
    release = release_of(url)
    if url != text:
        raise CredentialsInUrl(release.url if release else FORMS)
    parse_url(text)
    if release is None:
        raise ValueError(f"it is not the direct URL of a release's file; use {FORMS}")
    if release.host.scheme == "http" and host.scheme == "https" and release.host.name == host.name:
        raise ValueError(f"it is not encrypted; use {replace(release, host=host).url}")
    return release


def _checked_tag(tag: str) -> str | None:
    if len(tag) > _LONGEST_TAG:
        raise ValueError(f"the tag is longer than {_LONGEST_TAG} characters")
    return None if tag == LATEST else tag
