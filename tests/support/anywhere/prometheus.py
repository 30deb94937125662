"""The Prometheus of an environment, asked by its HTTP API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from support.anywhere.containers import PROMETHEUS, ContainerBackend
from support.system.containers import awaited

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.anywhere.fleet import Fleet

HINT = "it reads the token in prometheus.token, and its configuration is in envs/prometheus."
SHOWN = ("alertname", "instance")


class Prometheus:
    """The one of a fleet, asked by its HTTP API."""

    def __init__(self, fleet: Fleet) -> None:
        assert isinstance(fleet.backend, ContainerBackend)
        self.backend = fleet.backend
        self._within_s = fleet.environment.target("alert_s")

    def ask(self, path: str, **query: str) -> Any:
        """Return what it answers."""
        answer = httpx.get(
            f"{self.backend.urls[PROMETHEUS]}/api/v1/{path}",
            params=query,
            verify=self.backend.certificates.trust,
            trust_env=False,
        )
        return answer.raise_for_status().json()["data"]

    def until(self, probe: Callable[[], Any], what: str, wanted: object) -> None:
        """Wait until it sees that."""
        awaited(
            probe,
            what,
            of=self.backend.containers[PROMETHEUS],
            until=lambda seen: seen == wanted,
            timeout_s=self._within_s,
            ignoring=(httpx.HTTPError,),
            hint=HINT,
        )

    def until_all_are_up(self) -> None:
        """Wait until it has read the metrics of all servers."""
        self.until(
            self._targets, "both servers are up", {"server:8700": "up", "server-2:8700": "up"}
        )

    def alerts(self, state: str) -> list[dict[str, str]]:
        """Return which alerts are in that state, for which server."""
        return [
            {name: text for name, text in each["labels"].items() if name in SHOWN}
            for each in self.ask("alerts")["alerts"]
            if each["state"] == state
        ]

    def number(self, expression: str) -> float | None:
        """Return what an expression is now, or None where nothing is known."""
        found = self.ask("query", query=expression)["result"]
        return float(found[0]["value"][1]) if found else None

    def _targets(self) -> dict[str, str]:
        active = self.ask("targets")["activeTargets"]
        return {each["labels"]["instance"]: each["health"] for each in active}
