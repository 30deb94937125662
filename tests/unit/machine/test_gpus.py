from __future__ import annotations

from types import SimpleNamespace

import pynvml
import pytest

from muster.machine import gpus
from muster.machine.gpus import DriverFailed, Gpu


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for a driver with two GPUs; returns what it was asked to open and close."""
    calls: list[str] = []
    memory = {0: 24 * 2**30, 1: 80 * 2**30}
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: calls.append("init"))
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: calls.append("shutdown"))
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: len(memory))
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda handle: f"NVIDIA {handle}")
    monkeypatch.setattr(
        pynvml, "nvmlDeviceGetMemoryInfo", lambda handle: SimpleNamespace(total=memory[handle])
    )
    return calls


def _failing(code: int) -> object:
    def fail(*_: object) -> None:
        raise pynvml.NVMLError(code)

    return fail


def test_finds_the_gpus_with_their_memory(driver: list[str]) -> None:
    assert gpus.detect() == [
        Gpu(name="NVIDIA 0", memory_mib=24_576),
        Gpu(name="NVIDIA 1", memory_mib=81_920),
    ]
    assert driver == ["init", "shutdown"]


@pytest.mark.parametrize(
    "code", [pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED]
)
def test_a_machine_without_a_driver_has_no_gpus(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(pynvml, "nvmlInit", _failing(code))

    assert gpus.detect() == []


def test_a_driver_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    mismatch = _failing(pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH)
    monkeypatch.setattr(pynvml, "nvmlInit", mismatch)

    with pytest.raises(DriverFailed, match="version mismatch"):
        gpus.detect()


def test_a_driver_that_lost_a_gpu_is_an_error_and_is_closed(
    driver: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = _failing(pynvml.NVML_ERROR_GPU_IS_LOST)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lost)

    with pytest.raises(DriverFailed, match="nvidia-smi"):
        gpus.detect()
    assert driver == ["init", "shutdown"]
