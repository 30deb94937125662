"""A tiny project for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.proofs import Project

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose code is good and whose one test passes."""
    return Project(tmp_path / "project")
