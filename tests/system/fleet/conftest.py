"""Fleets in containers, several test processes side by side."""

from __future__ import annotations

from contextlib import closing, suppress

import pytest

from support.system import belongings
from support.system.engine import NO_ENGINE, EngineMissing, connect, connect_with_images


def in_charge(config: pytest.Config) -> bool:
    """Tell whether this process is the one that starts those of a parallel run."""
    return config.pluginmanager.has_plugin("dsession")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Stop with one line, before any process of a parallel run does, where something is missing."""
    if in_charge(session.config):
        try:
            connect_with_images().close()
        except EngineMissing as error:
            pytest.exit(str(error), NO_ENGINE)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what the processes of a parallel run had no time to remove, when it was stopped."""
    if in_charge(config):
        with suppress(EngineMissing), closing(connect()) as client:
            belongings.sweep(client)
