from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.errors import InvalidInput
from muster.matrix.results import runfile
from muster.matrix.results.importing import import_folder
from muster.matrix.results.model import RunState, gpus_of, tier_of
from support.results import measured, run, write

if TYPE_CHECKING:
    from pathlib import Path

    from muster.matrix.results.store import Store


def test_what_is_written_is_read(tmp_path: Path) -> None:
    made = run(measures=[measured(goal=500)], outcomes={"a::b": "passed", "a::c": "failed"})

    assert runfile.read(write(tmp_path, made)) == made


def test_the_torn_last_line_of_a_killed_run_is_left_out(tmp_path: Path) -> None:
    made = run(outcomes={"a::b": "passed"}, ended=False)
    path = write(tmp_path, made)
    with path.open("a") as file:
        file.write('{"kind":"test","id":"a::')

    assert runfile.read(path) == made
    assert made.state is RunState.INCOMPLETE


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nonsense", "line 2: is no line of a run"),
        ('{"kind":"other"}', "line 2: is no line of a run"),
        ('{"kind":"end","totals":{},"exit_status":0}', "duration_s: Field required"),
    ],
)
def test_a_line_that_is_none_is_refused_by_number(tmp_path: Path, line: str, problem: str) -> None:
    path = write(tmp_path, run(outcomes={}, ended=False))
    with path.open("a") as file:
        file.write(f"{line}\n")

    with pytest.raises(InvalidInput, match=problem):
        runfile.read(path)


def test_a_file_of_a_later_format_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, run())
    path.write_text(path.read_text().replace('"format":1', '"format":2'))

    with pytest.raises(InvalidInput, match="has format 2, and this Muster reads up to 1"):
        runfile.read(path)


def test_a_file_without_a_head_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"kind":"end","totals":{},"exit_status":0,"duration_s":1}\n')

    with pytest.raises(InvalidInput, match="does not begin with a run"):
        runfile.read(path)


def test_the_newest_files_stay_with_their_xml(tmp_path: Path) -> None:
    paths = [write(tmp_path, run(day=day)) for day in range(5)]
    for path in paths:
        path.with_suffix(".xml").write_text("<testsuites/>")

    removed = runfile.prune(tmp_path, keep=2)

    assert removed == paths[:3]
    assert sorted(tmp_path.iterdir()) == sorted(
        file for path in paths[3:] for file in (path, path.with_suffix(".xml"))
    )


def test_importing_twice_changes_nothing(tmp_path: Path, store: Store) -> None:
    made = [run(day=day, ended=day != 1) for day in range(3)]
    for each in made:
        write(tmp_path / "runs", each)

    first = import_folder(store, tmp_path / "runs")
    again = import_folder(store, tmp_path / "runs")

    assert sorted(first) == sorted(each.head.id for each in made)
    assert again == []
    assert [row.state for row in store.runs()] == ["passed", "incomplete", "passed"]


def test_a_run_that_was_killed_before_its_first_line_stops_no_import(
    tmp_path: Path, store: Store
) -> None:
    made = run()
    folder = tmp_path / "runs"
    folder.mkdir()
    write(folder, made)
    (folder / "20260101T000000Z-unit-00000000.jsonl").write_text("")

    assert import_folder(store, folder) == [made.head.id]


def test_a_run_that_goes_on_is_imported_when_it_is_over(tmp_path: Path, store: Store) -> None:
    made = run()
    writer = runfile.Writer(tmp_path / "runs", made.head)

    assert import_folder(store, tmp_path / "runs") == []

    assert made.tail
    writer.end(made.tail)
    assert import_folder(store, tmp_path / "runs") == [made.head.id]


@pytest.mark.parametrize(
    ("session", "tier", "gpus"),
    [
        ("unit-3.12", "unit", None),
        ("system-8gpu", "system", 8),
        ("system-scaling", "system", None),
        ("stress", "load", None),
    ],
)
def test_a_session_s_name_says_tier_and_gpus(session: str, tier: str, gpus: int | None) -> None:
    assert (tier_of(session), gpus_of(session)) == (tier, gpus)
