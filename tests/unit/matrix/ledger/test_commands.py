"""``muster failures``: what people and scripts see."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from muster.errors import InvalidInput, NotFound
from muster.matrix.cli.failures import failures
from muster.matrix.ledger.book import read_book
from muster.matrix.ledger.problems import BadLedger

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from conftest import Write

FLAGS = (
    *("--title", 'A job\'s "result" is lost!', "--date", "2026-05-06", "--environment", "Here"),
    *("--impact", "One job.", "--symptom", "it hangs", "--symptom", "no result"),
    *("--cause", "immediate: The commit was not sent.", "--cause", "underlying:The commit was not"),
)
FOLDER = "failures/0001-a-job-s-result-is-lost"


def run(root: Path, command: str, *options: str, stdin: str = "") -> Result:
    result = CliRunner().invoke(failures, [command, *options, "--root", str(root)], input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_new_takes_all_from_options_and_begins_tests_that_fail(root: Path) -> None:
    result = run(root, "new", *FLAGS, "--tier", "unit", "--tier", "integration")

    assert result.exit_code == 0
    assert f"written: {FOLDER}/record.md" in result.output
    [entry] = read_book(root)
    record = entry.record
    assert (record.id, record.title, str(record.date)) == (1, FLAGS[1], "2026-05-06")
    assert record.symptoms == ["it hangs", "no result"]
    assert [(cause.name, cause.kind) for cause in record.causes] == [
        ("the-commit-was-not-sent", "immediate"),
        ("the-commit-was-not", "underlying"),
    ]
    for test in record.tests:
        file, _, name = test.id.partition("::")
        text = (root / file).read_text()
        assert "@pytest.mark.failure(1)" in text
        scope: dict[str, object] = {}
        exec(compile(text, file, "exec"), scope)
        function = scope[name]
        assert callable(function)
        with pytest.raises(pytest.fail.Exception, match="write this test"):
            function()


def test_new_asks_for_what_it_is_not_told(root: Path) -> None:
    answers = ["Lost", "2026-05-06T07:08:09Z", "Here", "One job.", "it hangs", "", "No commit."]

    result = run(root, "new", stdin="\n".join([*answers, "", "unit, browser", ""]))

    assert result.exit_code == 0, result.output
    [entry] = read_book(root)
    assert str(entry.record.date) == "2026-05-06 07:08:09+00:00"
    assert [cause.text for cause in entry.record.causes] == ["No commit."]
    assert [test.tier for test in entry.record.tests] == ["unit", "browser"]


def test_without_a_tier_a_failure_is_uncovered_and_somebodys(root: Path) -> None:
    assert run(root, "new", *FLAGS, "--tier", "none", "--owner", "kim").exit_code == 0

    [entry] = read_book(root)
    record = entry.record
    assert (record.state, record.owner, record.tests) == ("uncovered", "kim", [])
    assert not (root / "tests").exists()


def test_causes_that_are_called_alike_are_told_apart(root: Path) -> None:
    twice = ("--cause", "code: No commit.", "--cause", "scale: No commit!")

    run(root, "new", *FLAGS[:-4], *twice, "--tier", "unit")

    [entry] = read_book(root)
    assert [cause.name for cause in entry.record.causes] == ["no-commit", "no-commit-2"]


def test_new_takes_the_next_number(root: Path, write: Write) -> None:
    write(1)

    run(root, "new", *FLAGS, "--tier", "unit")

    assert [entry.record.id for entry in read_book(root)] == [1, 2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--tier", "moon"), "'moon' is no tier"),
        (("--tier", "unit", "--date", "soon"), "'soon' does not match"),
    ],
)
def test_new_refuses_a_bad_option(root: Path, options: tuple[str, ...], said: str) -> None:
    result = run(root, "new", *FLAGS, *options)

    assert result.exit_code == 2
    assert said in result.output
    assert list((root / "failures").iterdir()) == []


def test_new_refuses_an_answer_that_is_no_date(root: Path) -> None:
    result = run(root, "new", "--title", "Lost", "--tier", "unit", stdin="soon\n")

    assert result.exit_code == 2
    assert "'soon' is no date" in result.output


def test_new_writes_nothing_that_is_no_record(root: Path) -> None:
    with pytest.raises(BadLedger, match=r"cause\[1\]\.kind: 'sudden'"):
        run(root, "new", *FLAGS[:-4], "--cause", "sudden: it broke", "--tier", "unit")
    with pytest.raises(InvalidInput, match="has no letters"):
        run(root, "new", "--title", "?!", *FLAGS[2:], "--tier", "unit")

    assert list((root / "failures").iterdir()) == []


def test_new_overwrites_no_test(root: Path) -> None:
    file = root / "tests/unit/test_a_job_s_result_is_lost.py"
    file.parent.mkdir(parents=True)
    file.write_text("precious")

    with pytest.raises(InvalidInput, match="exists already"):
        run(root, "new", *FLAGS, "--tier", "unit")

    assert file.read_text() == "precious"
    assert list((root / "failures").iterdir()) == []


def test_lists_all(root: Path, write: Write) -> None:
    assert "No failure is written down yet" in run(root, "list").output
    write(1)
    write(2, tests=("tests/unit/test_x.py::test_a", "tests/unit/test_x.py::test_b"))

    assert "Failure 2" in run(root, "list").output
    listed = json.loads(run(root, "list", "--json").output)
    assert [(row["id"], row["tests"], row["faults"]) for row in listed] == [
        (1, {"unit": 1}, 0),
        (2, {"unit": 2}, 0),
    ]


def test_shows_one(root: Path, write: Write) -> None:
    write(1)

    assert "- **Impact**: Jobs were lost." in run(root, "show", "1").output
    shown = json.loads(run(root, "show", "1", "--json").output)
    assert (shown["title"], shown["story"], shown["proofs"]) == ("Failure 1", "It broke.", [])
    with pytest.raises(NotFound, match="failure 2 has no record"):
        run(root, "show", "2")


def test_check_ends_with_1_and_says_why(root: Path, write: Write) -> None:
    write(1, tests=(), head='state = "deprecated"\nreason = "gone"\nsince = 2026-01-02')

    refused = run(root, "check")

    assert refused.exit_code == 1
    assert "does not say what the records say" in refused.output
    assert refused.output.endswith("1 problem\n")
    [problem] = json.loads(run(root, "check", "--json").output)
    assert problem["file"] == "docs/failures.md"
    assert problem["remedy"] == "Run `muster failures render`."


def test_what_render_writes_passes_check(root: Path, write: Write, tmp_path: Path) -> None:
    write(1, tests=(), head='state = "deprecated"\nreason = "gone"\nsince = 2026-01-02')

    assert run(root, "render").exit_code == 0

    passed = run(root, "check")
    assert (passed.exit_code, passed.output) == (0, "The ledger is in order.\n")
    other = tmp_path / "out" / "page.md"
    run(root, "render", "--output", str(other), "--results", str(tmp_path / "none"))
    assert other.read_text() == (root / "docs/failures.md").read_text()


def test_without_a_book_there_is_nothing_to_do(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="failures: is no folder"):
        run(tmp_path / "elsewhere", "list")
