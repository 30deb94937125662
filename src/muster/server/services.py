"""Which services jobs may ask for: those that Muster knows, and those that live workers offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.errors import InvalidInput
from muster.worker.connectors import base

if TYPE_CHECKING:
    from collections.abc import Iterable

    from muster.fleet.registry import Registry


async def check_services(wanted: Iterable[str], registry: Registry) -> None:
    """Raise ``InvalidInput`` if any of the services is unknown.

    A job for an installed connector's service may wait for its first worker; a job for another
    service is taken while a worker that offers it lives.
    """
    known = set(base.installed())
    if known.issuperset(wanted):
        return
    known |= {worker.capabilities.service for worker in await registry.live_workers()}
    for service in wanted:
        if service not in known:
            raise InvalidInput(
                "service",
                "is unknown: no connector is installed for it and no live worker offers it",
                f"Use one of {', '.join(sorted(known))}, or start a machine that offers it.",
                value=service,
            )
