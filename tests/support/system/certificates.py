"""Those that ``envs/certificates`` makes, and clients that trust their authority."""

from __future__ import annotations

import ssl
import subprocess
from typing import TYPE_CHECKING

import httpx

from muster.client import Client
from muster.client.sending import PATIENCE_S
from support.system.image import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = ROOT / "envs" / "certificates"


class Certificates:
    """A test authority and the certificate of a fleet, made in a folder."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([str(SCRIPT), str(folder)], check=True, capture_output=True, timeout=60)
        self.folder = folder
        self.ca_file = folder / "ca.pem"
        self.trust = ssl.create_default_context(cafile=self.ca_file)

    def put(self, name: str, secret: str) -> None:
        """Put another secret beside them, to be read by whichever user a container has."""
        file = self.folder / name
        file.write_text(secret, encoding="utf-8")
        file.chmod(0o644)

    def client(self, url: str, token: str, *, patience_s: float = PATIENCE_S) -> Client:
        """Return a client of a server that shows the fleet's certificate."""
        transport = httpx.HTTPTransport(verify=self.trust, trust_env=False)
        return Client(url, token, patience_s=patience_s, transport=transport)
