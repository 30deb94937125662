"""Which proofs are chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.errors import InvalidInput, NotFound
from muster.matrix.ledger.book import read_book
from muster.matrix.proofs.choice import changed_files, choose, touched_by
from support.proofs import CODE, GOOD_CODE, GOOD_TEST, TESTS, TWO_LAMPS

if TYPE_CHECKING:
    from support.proofs import Project


@pytest.fixture(autouse=True)
def _two_failures(project: Project) -> None:
    """Two failures; the second one's fault is in a file of its own."""
    project.record(project.fault(*TWO_LAMPS), number=1)
    project.write("src/muster/doors.py", GOOD_CODE)
    project.commit()
    project.record(project.fault("count):", "count=1):", "src/muster/doors.py"), number=2)
    project.write("failures/0002-too-dark/record.md", _elsewhere(project))
    project.write("tests/unit/test_doors.py", GOOD_TEST)
    project.commit()


def _elsewhere(project: Project) -> str:
    record = project.root / "failures/0002-too-dark/record.md"
    return record.read_text(encoding="utf-8").replace(TESTS, "tests/unit/test_doors.py")


def numbers(project: Project) -> list[int]:
    proofs = choose(read_book(project.root), [], [])
    return [proof.number for proof in touched_by(changed_files(project.root), proofs, project.root)]


def test_all_failures_at_the_default_tiers(project: Project) -> None:
    chosen = choose(read_book(project.root), [], [])

    assert [(proof.number, proof.tier) for proof in chosen] == [(1, "unit"), (2, "unit")]


def test_one_failure_by_its_number_however_often_it_is_named(project: Project) -> None:
    assert [proof.number for proof in choose(read_book(project.root), [2, 2], [])] == [2]


def test_a_number_without_a_record_is_refused(project: Project) -> None:
    with pytest.raises(NotFound, match="failure 7 has no record"):
        choose(read_book(project.root), [7], [])


def test_a_tier_without_faults_is_refused(project: Project) -> None:
    book = read_book(project.root)
    with pytest.raises(InvalidInput, match="'system' has no fault of any failure"):
        choose(book, [], ["system"])
    with pytest.raises(InvalidInput, match=r"1 has no fault at tier system. Use --tier unit"):
        choose(book, [1], ["system"])


def test_a_record_that_is_not_active_is_not_proved(project: Project) -> None:
    project.record(project.fault(*TWO_LAMPS), number=1, state="deprecated")
    book = read_book(project.root)

    assert [proof.number for proof in choose(book, [], [])] == [2]
    with pytest.raises(InvalidInput, match=r"is deprecated.*The house was sold"):
        choose(book, [1], [])


@pytest.mark.parametrize(
    ("file", "text", "touched"),
    [
        (CODE, f"{GOOD_CODE}\n", [1]),
        ("src/muster/doors.py", f"{GOOD_CODE}\n", [2]),
        (TESTS, f"{GOOD_TEST}\n", [1]),
        ("tests/unit/conftest.py", "\n", [1, 2]),
        ("failures/0002-too-dark/notes.md", "It was very dark.\n", [2]),
        ("README.md", "Lamps.\n", []),
    ],
)
def test_what_a_branch_changed_is_proved(
    project: Project, file: str, text: str, touched: list[int]
) -> None:
    # Given a branch, whether the change is new, committed, or behind other commits
    project.git("switch", "--quiet", "--create", "work")
    project.write(file, text)
    assert numbers(project) == touched
    project.commit()
    assert numbers(project) == touched
    project.commit()
    assert numbers(project) == touched


def test_code_that_moved_is_proved_by_its_old_name(project: Project) -> None:
    project.git("switch", "--quiet", "--create", "work")
    project.git("mv", "src/muster/doors.py", "src/muster/gates.py")
    project.commit()

    assert numbers(project) == [2]


def test_on_main_the_last_commit_counts(project: Project) -> None:
    project.write(CODE, f"{GOOD_CODE}\n")
    project.commit()
    assert numbers(project) == [1]
    project.commit()
    assert numbers(project) == []


def test_a_fault_that_rotted_is_chosen_when_its_code_changes(project: Project) -> None:
    project.git("switch", "--quiet", "--create", "work")
    project.write(CODE, "lamps = list\n")
    assert numbers(project) == [1]
