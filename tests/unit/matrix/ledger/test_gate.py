"""The gate lets through a ledger that is in order, and tells what is not."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from muster.matrix.ledger.book import read_book
from muster.matrix.ledger.gate import CensusFailed, check, take_census
from muster.matrix.ledger.page import PAGE, render
from muster.matrix.ledger.scaffold import STORY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Write

CODE = "def answer():\n    return 42\n\n"
TEST = """import pytest

@pytest.mark.failure(1)
@pytest.mark.parametrize("n", [1, 2])
def test_it(n): pass

class TestIt:
    def test_inner(self): pass
"""
FAULT = """
[[fault]]
file = "it.patch"
cause = "the-cause"
text = "Puts it back."
tiers = ["unit"]
signature = "lost"
"""
MEASURE = '\n[[measure]]\ntext = "Mended."\nstate = "implemented"\nwhere = "{where}"\n'
PATCH = """--- a/src/code.py
+++ b/src/code.py
@@ -1,3 +1,3 @@
 def answer():
-    return 42
+    return 41
{blank}
""".format(blank=" ")
NOXFILE = """import nox

@nox.session
def unit(session): pass

@nox.session(name="web-types", default=False)
def web_types(session): pass

@nox.session(default=False)
def load(session): pass

for count in range(1, 9):
    @nox.session(name=f"system-{count}gpu")
    def system(session): pass
"""


@pytest.fixture
def root(root: Path) -> Path:
    """A project with code, tests and sessions."""
    for path, text in {
        "src/code.py": CODE + "LIMIT = 1\nBOUND: int = 2\n\nclass It:\n    def run(self): pass\n",
        "src/code.lua": "-- claims a job\n",
        "tests/unit/test_it.py": TEST,
        "noxfile.py": NOXFILE,
        "pytest.ini": "[pytest]\naddopts = -p muster.matrix.ledger.plugin -p no:schemathesis "
        "-p no:randomly --import-mode=importlib\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.fixture
def in_order(root: Path, write: Write) -> Path:
    """A project whose ledger is in order; its record's file."""
    path = write(body=FAULT + MEASURE.format(where="src/code.py::answer"))
    path.with_name("it.patch").write_text(PATCH)
    write_page(root)
    return path


def write_page(root: Path) -> None:
    (root / PAGE).parent.mkdir(exist_ok=True)
    (root / PAGE).write_text(render(read_book(root)))


@pytest.fixture
def marks(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[int]]:
    """What a census would find: one is taken in the tests of the census alone."""
    marks = {"tests/unit/test_it.py::test_it": {1}}
    monkeypatch.setattr("muster.matrix.ledger.gate.take_census", lambda _: marks)
    return marks


@pytest.fixture
def problems(root: Path, in_order: Path, marks: dict[str, set[int]]) -> Callable[[], list[str]]:
    return lambda: [str(problem) for problem in check(root)]


def test_a_ledger_in_order_passes(problems: Callable[[], list[str]]) -> None:
    assert problems() == []


def test_takes_a_census_of_the_tests_themselves(root: Path, in_order: Path) -> None:
    assert take_census(root) == {
        "tests/unit/test_it.py::test_it": {1},
        "tests/unit/test_it.py::TestIt::test_inner": set(),
    }


def test_tests_that_cannot_be_collected_are_told_with_the_reason(root: Path) -> None:
    (root / "tests/unit/test_it.py").write_text("import nothing_like_it\n")

    with pytest.raises(CensusFailed, match="No module named 'nothing_like_it'"):
        take_census(root)


def test_a_project_without_tests_has_none(tmp_path: Path) -> None:
    assert take_census(tmp_path) == {}


def test_a_renamed_test_is_told_from_both_sides(root: Path, in_order: Path) -> None:
    (root / "tests/unit/test_it.py").write_text(TEST.replace("test_it", "test_renamed"))

    said = "\n".join(map(str, check(root)))

    assert "record.md: test: tests/unit/test_it.py::test_it does not exist. Correct its id" in said
    assert "::test_renamed: it is marked with failure 1, whose record does not name it" in said


def test_a_marker_without_a_record_is_told(
    problems: Callable[[], list[str]], marks: dict[str, set[int]]
) -> None:
    marks["tests/unit/test_it.py::test_new"] = {9}

    [said] = problems()

    assert said.startswith(
        "tests/unit/test_it.py::test_new: it is marked with failure 9, which has no record."
    )


def test_a_missing_mark_is_told(
    problems: Callable[[], list[str]], marks: dict[str, set[int]]
) -> None:
    marks["tests/unit/test_it.py::test_it"] = set()

    [said] = problems()

    assert "record 1 names this test, which lacks its mark" in said


@pytest.mark.parametrize(
    "where",
    [
        "src",
        "src/code.py",
        "src/code.py::LIMIT",
        "src/code.py::BOUND",
        "src/code.py::It::run",
        "src/code.lua::claims a job",
        "tests/unit/test_it.py::TestIt::test_inner",
        "nox -s unit",
        "nox -s web-types",
        "nox -s system-4gpu",
    ],
)
def test_a_measure_may_point_to_whatever_there_is(
    root: Path, in_order: Path, problems: Callable[[], list[str]], where: str
) -> None:
    in_order.write_text(in_order.read_text().replace("src/code.py::answer", where))
    write_page(root)

    assert problems() == []


@pytest.mark.parametrize(
    ("where", "trouble"),
    [
        ("src/gone.py", "src/gone.py does not exist"),
        ("../elsewhere", "../elsewhere does not exist"),
        ("src/code.py::gone", "src/code.py has no gone"),
        ("src/code.py::It::gone", "src/code.py has no It::gone"),
        ("src/code.lua::completes", "src/code.lua has no completes"),
        ("src::gone", "src is a folder, and has no gone"),
        ("nox -s web_types", "noxfile.py has no session web_types"),
        ("nox -s system-gpu", "noxfile.py has no session system-gpu"),
    ],
)
def test_a_measure_that_points_to_nothing_is_told(
    root: Path, in_order: Path, problems: Callable[[], list[str]], where: str, trouble: str
) -> None:
    (root.parent / "elsewhere").touch()
    in_order.write_text(in_order.read_text().replace("src/code.py::answer", where))
    write_page(root)

    [said] = problems()

    assert f"record.md: measure[1].where: {trouble}. Say where it is now" in said


def test_without_a_noxfile_there_are_no_sessions(
    root: Path, in_order: Path, problems: Callable[[], list[str]]
) -> None:
    (root / "noxfile.py").unlink()
    in_order.write_text(in_order.read_text().replace("src/code.py::answer", "nox -s unit"))
    write_page(root)

    assert "there is no noxfile.py" in problems()[0]


def test_a_cause_that_nothing_puts_back_is_told(
    root: Path, in_order: Path, problems: Callable[[], list[str]]
) -> None:
    in_order.write_text(in_order.read_text().replace(FAULT, ""))
    in_order.with_name("it.patch").unlink()
    write_page(root)

    [said] = problems()

    assert "cause 'the-cause': no fault puts it back" in said


def test_a_cause_may_say_why_it_cannot_be_put_back(
    root: Path, write: Write, problems: Callable[[], list[str]], marks: dict[str, set[int]]
) -> None:
    write(2, cause='no_fault = "It lies with the host."', tests=("tests/unit/test_x.py::test_x",))
    marks["tests/unit/test_x.py::test_x"] = {2}
    write_page(root)

    assert problems() == []


def test_a_fault_that_is_not_there_is_told(
    in_order: Path, problems: Callable[[], list[str]]
) -> None:
    in_order.with_name("it.patch").unlink()

    [said] = problems()

    assert "fault.file: failures/0001-broken/it.patch does not exist" in said


def test_a_rotted_fault_is_told(
    root: Path, in_order: Path, problems: Callable[[], list[str]]
) -> None:
    (root / "src/code.py").write_text(CODE.replace("42", "43"))

    [said] = problems()

    assert said.startswith("failures/0001-broken/it.patch: has rotted: it does not apply (patch ")


def test_a_fault_for_a_file_that_is_gone_is_told(
    root: Path, in_order: Path, problems: Callable[[], list[str]]
) -> None:
    in_order.write_text(in_order.read_text().replace("src/code.py::answer", "src"))
    (root / "src/code.py").unlink()
    write_page(root)

    assert any("src/code.py: No such file or directory" in said for said in problems())


def test_a_fault_that_no_record_names_is_told(
    in_order: Path, problems: Callable[[], list[str]]
) -> None:
    in_order.with_name("other.patch").write_text(PATCH)

    [said] = problems()

    assert "other.patch: is no fault of the record beside it" in said


def test_uncovered_is_allowed_with_an_owner_and_a_day_and_never_without(
    root: Path, write: Write, problems: Callable[[], list[str]]
) -> None:
    path = write(
        2,
        head='state = "uncovered"\nreason = "new"\nowner = "kim"\nsince = 2026-01-02',
        tests=(),
    )
    write_page(root)
    assert problems() == []

    path.write_text(path.read_text().replace('owner = "kim"\n', "").replace("since", "#"))

    [said] = problems()
    assert "state 'uncovered' also needs owner, since. Add them" in said


def test_a_record_without_a_story_is_told(
    in_order: Path, problems: Callable[[], list[str]]
) -> None:
    in_order.write_text(in_order.read_text().replace("It broke.", STORY))

    assert any("record.md: tells no story" in said for said in problems())


def test_a_record_may_get_another_name_but_never_goes(
    root: Path, in_order: Path, write: Write, problems: Callable[[], list[str]]
) -> None:
    def commit() -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        for command in (("init",), ("add", "."), (*identity, "commit", "-m", "x")):
            subprocess.run(["git", *command], cwd=root, check=True, capture_output=True)

    # Given a record that is renamed, and another that is removed
    head = 'state = "deprecated"\nreason = "gone"\nsince = 2026-01-02'
    removed = write(2, head=head, tests=()).parent
    renamed = in_order.parent.rename(in_order.parent.with_name("0001-earlier"))
    write_page(root)
    commit()
    renamed.rename(in_order.parent)
    commit()
    assert problems() == []
    shutil.rmtree(removed)
    write_page(root)
    commit()

    [said] = problems()

    assert said.startswith("failures/0002-broken/record.md: was removed. Bring it back")


def test_a_page_that_says_something_else_is_told_whatever_results_say(
    root: Path, in_order: Path, problems: Callable[[], list[str]]
) -> None:
    page = root / PAGE
    page.write_text(page.read_text().replace("<!--found--><!--/-->", "<!--found-->x<!--/-->"))
    assert problems() == []

    page.write_text(page.read_text().replace("Jobs were lost", "Nothing happened"))

    assert problems() == [
        f"{PAGE}: does not say what the records say. Run `muster failures render`."
    ]


def test_records_that_cannot_be_read_are_all_that_is_told(
    in_order: Path, problems: Callable[[], list[str]]
) -> None:
    in_order.write_text(in_order.read_text().replace("title", "titel"))

    assert [said.partition(": ")[2].partition(":")[0] for said in problems()] == ["titel", "title"]
