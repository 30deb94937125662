from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from muster.errors import InvalidInput, NotFound
from muster.matrix.results.store import Store, StoreUnavailable
from support.results import measured, run

if TYPE_CHECKING:
    from pathlib import Path


def test_a_run_is_kept_with_its_tests_and_measures(store: Store) -> None:
    made = run("system-4gpu", outcomes={"a": "passed", "b": "error"}, measures=[measured()])

    assert store.add(made)

    (row,) = store.runs()
    assert (row.id, row.session, row.gpus) == (made.head.id, "system-4gpu", 4)
    assert (row.passed, row.failed, row.skipped, row.tests) == (1, 1, 0, 2)
    assert row.started == made.head.started
    assert [(test.test, test.outcome) for test in store.tests([row.id])] == [
        ("a", "passed"),
        ("b", "error"),
    ]
    (kept,) = store.measures()
    assert kept.measure == measured()
    assert kept.run == row
    assert store.measures([]) == []


def test_a_run_is_added_once(store: Store) -> None:
    made = run()

    assert store.add(made)
    assert not store.add(made)
    assert len(store.runs()) == 1


def test_runs_are_found_by_session_and_environment_the_newest_first(store: Store) -> None:
    for day in range(3):
        store.add(run("unit", day=day))
        store.add(run("load", day=day, environment="staging"))

    found = store.runs(session="load", environment="staging", limit=2)

    assert [row.session for row in found] == ["load", "load"]
    assert found[0].started > found[1].started
    assert store.runs(session="unit", environment="staging") == []


def test_a_run_is_found_by_the_beginning_of_its_id_or_its_session(store: Store) -> None:
    old, new = run(day=0), run(day=1)
    store.add(old)
    store.add(new)

    assert store.find(old.head.id[:6]).id == old.head.id
    assert store.find("unit").id == new.head.id
    with pytest.raises(NotFound, match="No run 'browser'"):
        store.find("browser")


def test_a_beginning_of_several_ids_is_refused(store: Store) -> None:
    for ending in "ab":
        made = run()
        made.head.id = f"abc{ending}"
        store.add(made)

    with pytest.raises(InvalidInput, match="begins several ids"):
        store.find("abc")


def test_the_newest_runs_stay_when_it_is_pruned(store: Store) -> None:
    made = [run(day=day, measures=[measured()]) for day in range(4)]
    for each in made:
        store.add(each)

    assert store.prune(keep=1) == 3

    assert [row.id for row in store.runs()] == [made[3].head.id]
    assert store.tests([each.head.id for each in made[:3]]) == []
    assert len(store.measures()) == 1


def test_what_was_kept_is_there_after_it_is_opened_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with Store(url) as store:
        store.add(run())

    with Store(url) as store:
        assert len(store.runs()) == 1


def test_tables_of_another_version_are_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    Store(url).close()
    connection = sqlite3.connect(tmp_path / "x.db")
    connection.execute("UPDATE about SET version = 99")
    connection.commit()
    connection.close()

    with pytest.raises(StoreUnavailable, match="tables of version 99"):
        Store(url)


def test_a_store_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"nowhere.*cannot be used"):
        Store(f"sqlite:///{tmp_path / 'nowhere' / 'x.db'}")


@pytest.mark.parametrize("url", ["results.db", "redis://localhost/0"])
def test_a_url_that_is_none_of_a_database_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="is no URL of a database"):
        Store(url)


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    # A socket in a folder where no server listens: no network is used.
    url = f"postgresql://me:hunter2@/results?host={tmp_path}"

    with pytest.raises(StoreUnavailable) as failure:
        Store(url)

    assert "postgresql+psycopg://me:***@/results" in str(failure.value)
    assert "hunter2" not in str(failure.value)
