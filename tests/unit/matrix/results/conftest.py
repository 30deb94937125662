"""A store in a file of the test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.matrix.results.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path / 'results.db'}") as opened:
        yield opened
