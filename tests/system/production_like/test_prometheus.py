"""Prometheus watches the servers of production-like, and an alert's cause raises it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
import yaml

from support.anywhere.containers import PROMETHEUS
from support.anywhere.prometheus import Prometheus
from support.anywhere.replication import silent
from support.system.image import ROOT

if TYPE_CHECKING:
    from support.anywhere.fleet import Fleet

pytestmark = pytest.mark.needs("docker", "tls")

RULES = ROOT / "envs" / "prometheus" / "alerts.yml"
AWAY = {"alertname": "MusterServerAway", "instance": "server-2:8700"}


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
