"""What a worker reads from its environment, and how it refuses what it cannot use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from muster.worker.settings import WorkerSettings

    Load = Callable[..., WorkerSettings]


ALWAYS_SET = ["MACHINE_ID", "WORKER_INDEX", "MACHINE_INCARNATION", "ARTIFACTS_URL", "REDIS_URL"]
ENV_FILE = """\
MACHINE_ID="gpu-host-2"
WORKER_INDEX=1
MACHINE_INCARNATION=ab
CONNECTOR=simulation
SERVICE_URL=http://127.0.0.1:8190
WORKER_CONCURRENCY=4
WORKER_MODELS=sdxl, flux,
WORKER_LABELS=region=eu, tier=spot
WORKER_VRAM_MIB=24000
ARTIFACTS_URL=file:///var/lib/muster/artifacts
INPUT_HOSTS=a.example,b.example
"""


@pytest.fixture
def queue_name() -> str:
    return "default"


@pytest.mark.failure(1)
def test_reads_machine_id_from_environment(load: Load) -> None:
    settings = load(MACHINE_ID="basic-machine-prod-test", WORKER_INDEX="5")

    assert settings.machine_id == "basic-machine-prod-test"
    assert settings.worker_id == "basic-machine-prod-test-worker-5"


@pytest.mark.failure(15)
def test_reads_all_from_an_env_file(load: Load, tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(ENV_FILE)

    settings = load(env_file, **dict.fromkeys(ALWAYS_SET))

    assert settings.worker_id == "gpu-host-2-worker-1"
    assert (settings.incarnation, settings.connector, settings.concurrency) == (
        "ab",
        "simulation",
        4,
    )
    assert settings.service_url == "http://127.0.0.1:8190"
    assert settings.input_hosts == {"a.example", "b.example"}
    offer = settings.capabilities("simulation")
    assert offer.models == {"sdxl", "flux"}
    assert offer.labels == {"region": "eu", "tier": "spot"}
    assert offer.vram_mib == 24000


def test_a_worker_alone_has_modest_defaults(load: Load) -> None:
    settings = load()

    assert (settings.connector, settings.concurrency, settings.vram_mib) == ("comfyui", 1, 0)
    assert (settings.models, settings.labels, settings.input_hosts) == (set(), {}, set())


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("MACHINE_ID", "unknown", "letters, digits"),
        ("MACHINE_ID", "UNKNOWN", "letters, digits"),
        ("MACHINE_ID", "", "letters, digits"),
        ("MACHINE_ID", "gpu host", "letters, digits"),
        ("MACHINE_ID", "gpu:1", "letters, digits"),
        ("MACHINE_ID", "x" * 49, "letters, digits"),
        ("WORKER_INDEX", "8", "0 to 7"),
        ("WORKER_INDEX", "-1", "0 to 7"),
        ("WORKER_INDEX", "two", "0 to 7"),
        ("WORKER_INDEX", "", "0 to 7"),
        ("MACHINE_INCARNATION", "", "The machine sets it"),
        ("SERVICE_URL", "127.0.0.1:8188", "http://127.0.0.1:8188"),
        ("WORKER_CONCURRENCY", "0", "how many jobs"),
        ("WORKER_CONCURRENCY", "1001", "how many jobs"),
        ("WORKER_MODELS", "two words", "with commas between"),
        ("WORKER_LABELS", "region", "name=value"),
        ("WORKER_LABELS", "region=", "name=value"),
        ("WORKER_VRAM_MIB", "-1", "memory in MiB"),
        ("MUSTER_QUEUE", "a b", "letters, digits"),
    ],
)
def test_a_bad_value_is_refused_by_name_with_a_remedy(
    load: Load, variable: str, value: str, remedy: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        load(**{variable: value})

    message = str(refused.value)
    assert refused.value.field == variable
    assert message.startswith(f"{variable}: ")
    assert remedy in message
    if variable != "WORKER_LABELS" or "=" not in value:
        assert repr(value) in message


@pytest.mark.parametrize(
    "variable", ["MACHINE_ID", "WORKER_INDEX", "MACHINE_INCARNATION", "ARTIFACTS_URL"]
)
def test_what_has_no_default_must_be_set(load: Load, variable: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{variable}: is not set") as refused:
        load(**{variable: None})

    assert refused.value.field == variable


def test_a_refused_redis_url_is_not_shown(load: Load) -> None:
    with pytest.raises(InvalidInput) as refused:
        load(REDIS_URL="http://user:hush@host")

    assert refused.value.field == "REDIS_URL"
    assert "hush" not in str(refused.value)
