"""Certificates of a test authority: good ones, and ones that must be refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path

HOST = "127.0.0.1"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Certificate:
    """A server's certificate and its key."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates; ``file`` is what clients are given to know them by."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._ca = trustme.CA()
        self._folder, self._name = folder, name
        self.file = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def certificate(self, *hosts: str, expired: bool = False) -> Certificate:
        """Return a certificate for these hosts, by default for this computer's loopback."""
        hosts = hosts or (HOST, "localhost")
        issued = self._ca.issue_cert(*hosts, not_after=LONG_AGO if expired else None)
        stem = f"{self._name}-{'-'.join(hosts)}{'-expired' if expired else ''}"
        made = Certificate(self._folder / f"{stem}.pem", self._folder / f"{stem}.key")
        made.cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(made.key))
        made.key.chmod(0o600)
        return made


def bad_certificates(folder: Path, good: Authority) -> dict[str, tuple[Certificate, str]]:
    """Return certificates to be refused, each with words of the reason."""
    return {
        "expired": (good.certificate(expired=True), "expired"),
        "wrong host": (good.certificate("elsewhere.example.org"), "IP address mismatch"),
        "untrusted": (Authority(folder, "stranger").certificate(), "unable to get local issuer"),
    }
