"""The pytest plugin of the failure ledger: the mark ``failure(3)``, and ``--failure 3``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from muster.errors import NotFound
from muster.matrix.ledger.book import FOLDER, Book, read_book
from muster.matrix.ledger.drift import drift
from muster.matrix.ledger.problems import BadLedger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from muster.matrix.ledger.problems import Problem

BOOK = pytest.StashKey[Book]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("failure ledger")
    group.addoption(
        "--failure",
        type=int,
        metavar="N",
        help="run the tests that record N names: at all tiers, or in the paths that are given",
    )
    group.addoption(
        "--census",
        type=Path,
        metavar="FILE",
        help="write all collected tests with the failures they are marked with to FILE, as JSON",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark, read the book, and with ``--failure`` collect no more than needed."""
    config.addinivalue_line("markers", "failure(number): would catch this failure of the ledger")
    if config.option.census:
        return
    try:
        book = config.stash[BOOK] = _read(config.rootpath)
        if config.option.failure is not None:
            record = book.entry(config.option.failure).record
            if config.args_source is not pytest.Config.ArgsSource.ARGS:
                config.args = sorted({_file(test.id) for test in record.tests})
    except (BadLedger, NotFound) as error:
        raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Hold the tests' marks against the records, and keep those of one failure if asked to."""
    marks = _marks(items)
    if config.option.census:
        listed = {test: sorted(numbers, key=str) for test, numbers in sorted(marks.items())}
        config.option.census.write_text(json.dumps(listed, indent=1))
        return
    for problem in sorted(drift(config.stash[BOOK], marks)):
        _report(config, problem)
    if config.option.failure is not None:
        of_it = [item for item in items if config.option.failure in marks[_test_id(item)]]
        others = [item for item in items if config.option.failure not in marks[_test_id(item)]]
        config.hook.pytest_deselected(items=others)
        items[:] = of_it


def _report(config: pytest.Config, problem: Problem) -> None:
    """Make it an error of the collection: it stops a run, and a parallel one ends red."""
    report = pytest.CollectReport(problem.file, "failed", str(problem), result=[])
    config.hook.pytest_collectreport(report=report)


def _read(root: Path) -> Book:
    return read_book(root) if (root / FOLDER).is_dir() else Book(root, ())


def _marks(items: Iterable[pytest.Item]) -> dict[str, set[int]]:
    """Return the numbers that each test is marked with, whatever its parameters."""
    marks: dict[str, set[int]] = {}
    for item in items:
        numbers = marks.setdefault(_test_id(item), set())
        for mark in item.iter_markers("failure"):
            numbers.update(mark.args)
    return marks


def _test_id(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def _file(test_id: str) -> str:
    return test_id.partition("::")[0]
