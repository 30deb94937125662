"""Where downloads may come from: the hosts that are allowed, and URLs that name nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx

_PORTS = {"https": 443, "http": 80}
_NAME = re.compile(r"[\w.-]+|[0-9a-f:.]*:[0-9a-f:.]*")


@dataclass(frozen=True, slots=True)
class Host:
    """A host as downloads know it: how it is spoken to, its name, its port."""

    scheme: str
    name: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Host:
        """Read ``name``, ``name:port``, or ``http://name:port`` for one without TLS.

        Raises ``ValueError`` when it says more or less than that.
        """
        url = parse_url(text if "://" in text else f"https://{text}")
        if url.raw_path not in {b"", b"/"} or url.fragment:
            raise ValueError(f"{text!r} is more than a host")
        if not _NAME.fullmatch(url.host.lower()):
            raise ValueError(f"{text!r} is not the name of a host")
        return cls.of(url)

    @classmethod
    def of(cls, url: httpx.URL) -> Host:
        """Return the host of a URL that ``parse_url`` took."""
        return cls(
            url.scheme, url.host.lower(), _PORTS[url.scheme] if url.port is None else url.port
        )

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{name}{port}"


def parse_url(text: str) -> httpx.URL:
    """Return the URL, read by the very parser of the client that will fetch it.

    Raises ``ValueError``, without the text when it holds a password.
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise ValueError("it is not a URL") from None
    if url.userinfo:
        raise ValueError("it holds a user or password")
    if url.scheme not in _PORTS or not url.host:
        raise ValueError("it is not an http or https URL")
    return url


def without_credentials(text: str) -> str:
    """Return a URL without the user and password that it may hold."""
    scheme, _, rest = text.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"


class Places:
    """The hosts that downloads may come from, whether asked directly or by a redirect."""

    def __init__(self, hosts: frozenset[Host]) -> None:
        self._hosts = hosts

    def check(self, text: str) -> httpx.URL:
        """Return the URL if it may be fetched. Raises ``ValueError`` that says why not."""
        url = parse_url(text)
        host = Host.of(url)
        if host not in self._hosts:
            known = ", ".join(sorted(str(host) for host in self._hosts))
            raise ValueError(f"{host} is not among the hosts that are allowed ({known})")
        return url
