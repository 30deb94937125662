"""Looks for what makes pytest run a test again, by whichever plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

MARK = "flaky"
"""The mark of pytest-rerunfailures, pytest-retry and flaky alike."""
_OPTIONS = ("reruns", "retries", "force_flaky")
"""Theirs, on the command line; the first two may be set in the ini file, too."""


def asked_for(config: pytest.Config) -> str | None:
    """Return the option by which all tests of the run would be run again; None without one."""
    for name in _OPTIONS:
        if config.getoption(name, None):
            return f"--{name.replace('_', '-')}"
        if _is_set(config, name):
            return f"{name} in {config.inipath}"
    return None


def _is_set(config: pytest.Config, name: str) -> bool:
    try:
        return str(config.getini(name) or 0) != "0"
    except ValueError:  # nobody knows the entry, so that it does nothing
        return False
