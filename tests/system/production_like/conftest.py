"""Tests of production-like may reach into the containers of its fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.anywhere.containers import ContainerBackend

if TYPE_CHECKING:
    from support.anywhere.fleet import Fleet


@pytest.fixture
def containers(fleet: Fleet) -> ContainerBackend:
    """The containers of the fleet."""
    assert isinstance(fleet.backend, ContainerBackend)
    return fleet.backend
