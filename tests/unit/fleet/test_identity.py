from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from muster.errors import InvalidInput
from muster.fleet.identity import validate_machine_id, worker_id

VALID = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,47}", fullmatch=True).filter(
    lambda name: name.lower() != "unknown"
)


@given(VALID)
@example("unknown-1")
@example("x" * 48)
def test_accepts_a_name_as_it_is(name: str) -> None:
    assert validate_machine_id(name) == name


@pytest.mark.failure(1)
@pytest.mark.parametrize(
    "name",
    [
        "",
        "unknown",
        "Unknown",
        "UNKNOWN",
        " gpu-1",
        "gpu-1 ",
        "gpu 1",
        "gpu:1",
        "gpu-1\n",
        "x" * 49,
        "-gpu",
        ".",
        "..",
        "gpu/1",
        "größe",
        "gpu\x00",
    ],
)
def test_refuses_what_names_no_machine(name: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        validate_machine_id(name)

    assert refusal.value.field == "MACHINE_ID"
    assert repr(name)[:40] in str(refusal.value)
    assert "gpu-host-1" in refusal.value.remedy


@given(st.text())
def test_accepts_nothing_but_names(text: str) -> None:
    try:
        validate_machine_id(text)
    except InvalidInput:
        return
    assert text.isascii()
    assert text == text.strip()
    assert not set(text) & set(" :/\\\n")
    assert text.lower() != "unknown"


def test_names_the_variable_that_was_read() -> None:
    with pytest.raises(InvalidInput, match=r"^CONTAINER_NAME: 'unknown'"):
        validate_machine_id("unknown", "CONTAINER_NAME")


@pytest.mark.failure(1)
def test_a_worker_is_called_after_its_machine() -> None:
    assert worker_id("gpu-host-1", 3) == "gpu-host-1-worker-3"
