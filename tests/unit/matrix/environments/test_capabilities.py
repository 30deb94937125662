from __future__ import annotations

import re

import pynvml
import pytest

from muster.matrix.environments.capabilities import (
    CapabilityMissing,
    check_computer,
    check_system,
)
from muster.matrix.environments.model import Capability, Environment
from muster.matrix.environments.reading import read_environment
from support.suite import ENVS


def declaring(*capabilities: Capability) -> Environment:
    local = read_environment(ENVS, "local")
    return local.model_copy(update={"capabilities": list(capabilities)})


def test_what_is_not_declared_is_not_looked_for() -> None:
    assert check_computer(declaring()) == []
    assert check_system(declaring(), server_url="http://x", redis_url="redis://x") == []


@pytest.mark.parametrize(
    ("server_url", "reached_by", "why"),
    [
        ("http://box:8700", "rediss://box", "its server is at http://box:8700"),
        ("https://box", "redis://box", "its Redis is reached by redis:"),
        ("https://box", "redis+sentinel://box/muster", "its Redis is reached by redis+sentinel:"),
    ],
)
def test_a_system_that_declares_tls_uses_it_everywhere(
    server_url: str, reached_by: str, why: str
) -> None:
    with pytest.raises(CapabilityMissing, match=re.escape(f"tls, which is missing: {why}")):
        check_system(declaring(Capability.TLS), server_url=server_url, redis_url=reached_by)


def test_a_system_that_declares_sentinel_is_reached_through_it() -> None:
    environment = declaring(Capability.SENTINEL)

    with pytest.raises(CapabilityMissing, match="sentinel, which is missing"):
        check_system(environment, server_url="http://box", redis_url="redis://box")


def test_what_is_there_is_told() -> None:
    environment = declaring(Capability.TLS, Capability.SENTINEL)
    url = "rediss+sentinel://box/muster"

    found = check_system(environment, server_url="https://box", redis_url=url)

    assert found == ["tls: in use", "sentinel: in use"]


@pytest.mark.parametrize(
    ("count", "told"), [(0, "the NVIDIA driver finds none"), (None, "Driver Not Loaded")]
)
def test_gpus_that_are_declared_and_missing(
    monkeypatch: pytest.MonkeyPatch, count: int | None, told: str
) -> None:
    def start() -> None:
        if count is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)

    monkeypatch.setattr(pynvml, "nvmlInit", start)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: count)

    with pytest.raises(CapabilityMissing, match=f"gpus, which is missing: {told}"):
        check_computer(declaring(Capability.GPUS))


def test_gpus_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 3)

    assert check_computer(declaring(Capability.GPUS)) == ["gpus: 3 found"]
