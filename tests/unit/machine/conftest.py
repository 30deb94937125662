from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from muster.machine.settings import MachineSettings
from muster.worker.settings import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Load = Callable[..., MachineSettings]

COMMAND = "{python} main.py --port {port} --out {output_dir}"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Load:
    """Load settings from exactly these environment variables, and what every machine needs."""
    for settings in (MachineSettings, WorkerSettings):
        for field in settings.model_fields.values():
            monkeypatch.delenv(str(field.alias), raising=False)

    def load(**environment: Any) -> MachineSettings:
        given = {
            "MACHINE_ID": "gpu-host-1",
            "NUM_GPUS": "2",
            "SERVICE_COMMAND": COMMAND,
            "MUSTER_DATA_DIR": str(tmp_path),
        } | environment
        for name, value in given.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        return MachineSettings.load()

    return load
