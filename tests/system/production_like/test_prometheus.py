"""Prometheus watches the servers of production-like, and an alert's cause raises it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from support.anywhere.containers import PROMETHEUS, ContainerBackend
from support.anywhere.replication import silent
from support.system.containers import awaited
from support.system.image import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.anywhere.fleet import Fleet

pytestmark = pytest.mark.needs("docker", "tls")

RULES = ROOT / "envs" / "prometheus" / "alerts.yml"
HINT = "it reads the token in prometheus.token, and its configuration is in envs/prometheus."
AWAY = {"alertname": "MusterServerAway", "instance": "server-2:8700"}


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
            {name: text for name, text in each["labels"].items() if name in AWAY}
            for each in self.ask("alerts")["alerts"]
            if each["state"] == state
        ]

    def _targets(self) -> dict[str, str]:
        active = self.ask("targets")["activeTargets"]
        return {each["labels"]["instance"]: each["health"] for each in active}


@pytest.fixture
def prometheus(fleet: Fleet) -> Prometheus:
    found = Prometheus(fleet)
    found.until_all_are_up()
    return found


@pytest.mark.acts("read")
def test_it_reads_every_server_over_tls_by_a_token_that_no_command_line_shows(
    fleet: Fleet, prometheus: Prometheus
) -> None:
    for target in prometheus.ask("targets")["activeTargets"]:
        assert target["scrapeUrl"].startswith("https://"), target
        assert target["lastError"] == ""
    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        httpx.get(prometheus.backend.urls[PROMETHEUS], trust_env=False)

    container = prometheus.backend.containers[PROMETHEUS]
    token = (prometheus.backend.certificates.folder / "prometheus.token").read_text()
    shown = str(container.top()) + str(container.attrs["Config"])
    assert token
    assert token not in shown

    with fleet.anonymous() as http:
        assert http.get("/metrics").status_code == 401


@pytest.mark.acts("read")
def test_our_rules_are_loaded_and_a_good_day_alerts_nobody(prometheus: Prometheus) -> None:
    (group,) = prometheus.ask("rules", type="alert")["groups"]

    (wanted,) = yaml.safe_load(RULES.read_text())["groups"]
    assert [rule["name"] for rule in group["rules"]] == [rule["alert"] for rule in wanted["rules"]]
    prometheus.until(
        lambda: {rule["health"] for rule in prometheus.ask("rules")["groups"][0]["rules"]},
        "all rules were evaluated",
        {"ok"},
    )
    prometheus.until(lambda: prometheus.alerts("firing"), "nothing is told", [])


@pytest.mark.acts("destructive")
def test_a_server_that_falls_silent_is_told_until_it_is_back(prometheus: Prometheus) -> None:
    with silent(prometheus.backend.containers["server-2"]):
        prometheus.until(lambda: prometheus.alerts("pending"), "it is noticed", [AWAY])
        prometheus.until(lambda: prometheus.alerts("firing"), "it is told", [AWAY])

    prometheus.until(lambda: prometheus.ask("alerts")["alerts"], "it is told no more", [])
    prometheus.until_all_are_up()
