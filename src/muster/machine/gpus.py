"""The GPUs that this machine has, as NVIDIA's driver counts them."""

from __future__ import annotations

from dataclasses import dataclass

import pynvml

from muster.errors import MusterError


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, with its memory in MiB."""

    name: str
    memory_mib: int


class DriverFailed(MusterError):
    """NVIDIA's driver is here but does not answer. Run `nvidia-smi` to see why."""


def detect() -> list[Gpu]:
    """Return this machine's GPUs in the driver's order; none where there is no NVIDIA driver.

    Raises ``DriverFailed`` where there is one that fails.
    """
    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
        return []
    except pynvml.NVMLError as error:
        raise DriverFailed(f"{DriverFailed.__doc__} NVML says: {error}") from error
    try:
        return [_describe(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        raise DriverFailed(f"{DriverFailed.__doc__} NVML says: {error}") from error
    finally:
        pynvml.nvmlShutdown()


def _describe(index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    name = pynvml.nvmlDeviceGetName(handle)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(name=str(name), memory_mib=int(memory.total) // 2**20)
