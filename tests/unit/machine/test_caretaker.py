"""What is started again, and what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.machine.caretaker import Caretaker
from muster.machine.supervisor import FATAL, Status

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def test_a_program_that_is_held_is_not_healed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given two programs that supervisord gave up, one of which is held
    caretaker = Caretaker(tmp_path, [], environment={}, marker={}, first_wait_s=0)
    caretaker.programs = {name: Status(name, FATAL, None, "") for name in ("held", "free")}
    caretaker.held.add("held")
    started: list[str] = []

    async def start(*names: str) -> None:
        started.extend(names)

    monkeypatch.setattr(caretaker._supervisor, "start", start)

    # When they have been looked at often enough
    for _ in range(2):
        await caretaker._heal()

    # Then the other alone was started
    assert started == ["free"]
