"""What containers measured is combined only when each kind of program left its part."""

from __future__ import annotations

from pathlib import Path

import pytest
from coverage import CoverageData

from support.system.compose import read_services
from support.system.measured import EXPECTED, NotMeasured, combine, measured

ROOT = Path(__file__).parents[3]
INSTALLED = "/opt/muster/lib/python3.13/site-packages"
VARIABLES = {
    "TLS_DIR": "/tls",
    **{f"REDIS_{role}_PASSWORD": "x" for role in ("OPERATOR", "SERVER", "MACHINE")},
}


def leave(folder: Path, program: str, *, ran: bool = True) -> None:
    """Leave what a program's process leaves: a module that it ran, or one that it only knows."""
    data = CoverageData(str(folder / f"data.host.{program}"))
    data.add_arcs({f"{INSTALLED}/{EXPECTED[program]}": [(-1, 3), (3, -1)] if ran else []})
    data.write()


def test_what_all_left_becomes_one_file_about_the_sources(tmp_path: Path) -> None:
    for program in EXPECTED:
        leave(tmp_path, program)

    combine(tmp_path, str(tmp_path / "all"))

    combined = CoverageData(str(tmp_path / "all"))
    combined.read()
    sources = {str(ROOT / "src" / module) for module in EXPECTED.values()}
    assert {str(Path(file).resolve()) for file in combined.measured_files()} == sources


@pytest.mark.parametrize("program", EXPECTED)
def test_a_program_that_left_nothing_is_named(tmp_path: Path, program: str) -> None:
    for each in EXPECTED:
        leave(tmp_path, each, ran=each != program)

    with pytest.raises(NotMeasured, match=f"^Of {program} there are no data among the 3 files"):
        combine(tmp_path, str(tmp_path / "all"))

    assert not (tmp_path / "all").exists()


def test_where_nothing_was_left_all_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotMeasured, match="Of server, agent, worker there are no data"):
        combine(tmp_path, str(tmp_path / "all"))


def test_a_measured_service_is_otherwise_as_it_was(tmp_path: Path) -> None:
    server = read_services(ROOT / "envs" / "staging.compose.yaml", VARIABLES)["server"]

    changed = measured(server, tmp_path)

    assert set(changed.environment.items()) > set(server.environment.items())
    assert changed.options.items() > server.options.items()
    assert [(mount["Target"], mount["ReadOnly"]) for mount in changed.options["mounts"]] == [
        ("/coverage", False),
        ("/etc/coverage.toml", True),
    ]
