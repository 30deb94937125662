"""Books of failures, made up in a temporary folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from pathlib import Path

RECORD = """+++
id = {number}
title = "Failure {number}"
date = 2026-01-02
environment = "Production"
impact = "Jobs were lost."
symptoms = ["a job was lost"]
{head}
[[cause]]
name = "the-cause"
kind = "immediate"
text = "Something was wrong."
{cause}
{body}
+++

It broke.
"""
TEST = """
[[test]]
tier = "unit"
id = "{id}"
"""
TEST_ID = "tests/unit/test_it.py::test_it"


class Write(Protocol):
    """Write a record, and return its file."""

    def __call__(
        self,
        number: int = 1,
        *,
        head: str = "",
        cause: str = "",
        body: str = "",
        tests: tuple[str, ...] = (TEST_ID,),
        folder: str = "",
    ) -> Path: ...


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with an empty book."""
    (tmp_path / "failures").mkdir()
    return tmp_path


@pytest.fixture
def write(root: Path) -> Write:
    def write(
        number: int = 1,
        *,
        head: str = "",
        cause: str = "",
        body: str = "",
        tests: tuple[str, ...] = (TEST_ID,),
        folder: str = "",
    ) -> Path:
        path = root / "failures" / (folder or f"{number:04}-broken") / "record.md"
        path.parent.mkdir()
        body = "".join(TEST.format(id=test) for test in tests) + body
        path.write_text(RECORD.format(number=number, head=head, cause=cause, body=body))
        return path

    return write
