"""Fleets in containers, several test processes side by side."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING

from support.system import belongings
from support.system.engine import EngineMissing, connect

if TYPE_CHECKING:
    import pytest


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what the processes of a parallel run had no time to remove, when it was stopped."""
    if config.pluginmanager.has_plugin("dsession"):
        with suppress(EngineMissing), closing(connect()) as client:
            belongings.sweep(client)
