"""A Muster server as users run it: a process, spoken to over TCP."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from muster.server.auth import Role, TokensFile, new_token
from support.redis import free_port
from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.certificates import Authority, Certificate


@dataclass(frozen=True)
class Server:
    """A running one."""

    url: str
    token: str
    log: Path
    process: subprocess.Popen[bytes]
    trusting: ssl.SSLContext | bool = True

    def client(self) -> httpx.Client:
        """Return a client that shows the token."""
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token}"},
            trust_env=False,
            timeout=30,
            verify=self.trusting,
        )


def command(**environment: str) -> tuple[list[str], dict[str, str]]:
    """Return how to run ``muster server`` with these settings and no others."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MUSTER_")}
    return [sys.executable, "-m", "muster.cli", "server"], clean | environment


@contextmanager
def serving(
    folder: Path,
    redis_url: str,
    queue: str = "default",
    *,
    certificate: Certificate | None = None,
    ca: Authority | None = None,
    **variables: str,
) -> Iterator[Server]:
    """Run a server until the block ends; then it must stop on SIGTERM.

    With a certificate it speaks TLS; without ``ca`` we ask it once, trusting anyone, if it is
    ready.
    """
    folder.mkdir(exist_ok=True)
    tokens = TokensFile(folder / "tokens.toml")
    token, entry = new_token("tests", Role.OPERATE)
    tokens.add(entry)
    port = free_port()
    argv, settings = command(
        REDIS_URL=redis_url,
        MUSTER_QUEUE=queue,
        MUSTER_PORT=str(port),
        MUSTER_TOKENS_FILE=str(tokens.path),
        **variables,
        **_tls_variables(certificate),
    )
    scheme = "https" if certificate else "http"
    trusting = ssl.create_default_context(cafile=ca.file) if ca else certificate is None
    log = folder / "server.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(argv, env=settings, stdout=output, stderr=output) as process,
    ):
        server = Server(f"{scheme}://127.0.0.1:{port}", token, log, process, trusting)
        try:
            with server.client() as http:
                eventually_blocking(
                    lambda: http.get("/readyz").status_code,
                    "the server is ready",
                    until=lambda status: status == 200,
                    timeout_s=30,
                    ignoring=(httpx.TransportError,),
                )
            yield server
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()


def _tls_variables(certificate: Certificate | None) -> dict[str, str]:
    if certificate is None:
        return {}
    return {
        "MUSTER_TLS_CERT_FILE": str(certificate.cert),
        "MUSTER_TLS_KEY_FILE": str(certificate.key),
    }
