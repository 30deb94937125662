"""Calls to a supervisord over its unix socket (its XML-RPC API: http://supervisord.org/api.html)."""

from __future__ import annotations

import xmlrpc.client
from typing import TYPE_CHECKING, Any

import httpx

from muster.errors import MusterError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

ALREADY_STARTED = 60
NOT_RUNNING = 70


class SupervisorGone(MusterError):
    """The supervisord does not answer."""


class Refused(MusterError):
    """supervisord refused a call, with the ``code`` of the fault."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Rpc:
    """A client of one supervisord."""

    def __init__(self, socket: Path, *, timeout_s: float = 10) -> None:
        self._client = httpx.AsyncClient(
            # No TLS on a unix socket, so no certificates to load.
            transport=httpx.AsyncHTTPTransport(uds=str(socket), verify=False),
            # supervisord's HTTP server of 1999 closes idle connections when it likes.
            headers={"Connection": "close", "Content-Type": "text/xml"},
            timeout=timeout_s,
            trust_env=False,
        )

    async def call(self, method: str, *arguments: Any) -> Any:
        """Call a method. Raises ``SupervisorGone``, or ``Refused`` if it answers with a fault."""
        request = xmlrpc.client.dumps(arguments, method).encode()
        try:
            response = await self._client.post("http://supervisord/RPC2", content=request)
            response.raise_for_status()
            answer, _ = xmlrpc.client.loads(response.content)
        except httpx.HTTPError as error:
            raise SupervisorGone(f"{SupervisorGone.__doc__} {error}") from error
        except xmlrpc.client.Fault as fault:
            raise Refused(fault.faultCode, f"{method}: {fault.faultString}") from fault
        return answer[0]

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._client.aclose()
