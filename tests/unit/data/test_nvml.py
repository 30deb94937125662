"""What our tests put in NVML's place is called as NVIDIA's binding declares it."""

from __future__ import annotations

import inspect

import pynvml
import pytest

from muster.machine.gpus import detect
from support.recorded import recorded

REAL = recorded("nvml", "12")


@pytest.mark.parametrize("function", REAL["functions"])
def test_a_function_takes_the_declared_arguments(function: str) -> None:
    declared = list(inspect.signature(getattr(pynvml, function)).parameters)

    assert declared == REAL["functions"][function]


def test_memory_is_told_in_the_declared_fields() -> None:
    fields = [name for name, *_ in pynvml.c_nvmlMemory_t._fields_]

    assert fields == REAL["memory"]


def test_the_real_library_is_asked_with_or_without_a_driver() -> None:
    assert all(gpu.name and gpu.memory_mib > 0 for gpu in detect())
