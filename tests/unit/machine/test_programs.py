from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from supervisor.options import ServerOptions

from muster.errors import InvalidInput
from muster.machine import launch
from muster.machine.programs import CONFIG, LOGS, ProgramSpec, write_files

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00")) | st.text(
    "%;# '\"\\\n$(){}"
)
PROGRAMS = st.lists(
    st.builds(
        ProgramSpec,
        name=NAMES,
        argv=st.lists(TEXT, min_size=1).map(tuple),
        env=st.dictionaries(st.from_regex(r"[A-Z_]{1,9}", fullmatch=True), TEXT),
        directory=st.just(Path("/tmp")),
        stop_signal=st.sampled_from(["TERM", "INT", "QUIT"]),
        stop_wait_s=st.integers(1, 300),
        start_seconds=st.integers(0, 60),
        start_attempts=st.integers(0, 60),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda program: program.name.lower(),
)


def read_by_supervisord(directory: Path, monkeypatch: pytest.MonkeyPatch) -> list[ServerOptions]:
    """Return the programs that supervisord itself finds in its configuration."""
    with monkeypatch.context() as patch:
        patch.chdir(directory)
        patch.setenv("MUSTER_SUPERVISOR_SOCKET", "/run/100% #1 ;x.sock")
        patch.setenv("MUSTER_LAUNCH", "'/opt/my %(python)s' -I ;launch.py")
        options = ServerOptions()
        options.configfile = CONFIG
        options.realize([])
        assert options.configroot.supervisord.server_configs[0]["file"] == "/run/100% #1 ;x.sock"
        groups = options.process_group_configs
        assert sorted(groups, key=lambda group: -group.priority) == sorted(
            groups, key=lambda group: group.name
        )
        return [config for group in groups for config in group.process_configs]


@given(programs=PROGRAMS)
@example(programs=[ProgramSpec("a", ("%(x)s ;#", "\n", "'\""), {"A": "'\" ;%\n"}, Path("/tmp"))])
@settings(max_examples=30)
def test_supervisord_reads_back_every_program(
    programs: Sequence[ProgramSpec], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.getbasetemp() / "supervisord 100% ;#"
    directory.mkdir(exist_ok=True)

    write_files(directory, [programs[:1], programs[1:]])

    with pytest.MonkeyPatch.context() as monkeypatch:
        read = {config.name: config for config in read_by_supervisord(directory, monkeypatch)}
    assert set(read) == {program.name for program in programs}
    for program in programs:
        config = read[program.name]
        assert config.command.startswith("'/opt/my %(python)s' -I ;launch.py ")
        assert config.stopwaitsecs == program.stop_wait_s
        assert config.stopsignal.name == f"SIG{program.stop_signal}"
        assert (config.startsecs, config.startretries) == (
            program.start_seconds,
            program.start_attempts,
        )
        assert config.stopasgroup
        assert config.killasgroup
        assert config.stdout_logfile == f"{LOGS}/{program.name}.log"
        spec = json.loads((directory / config.command.split()[-1]).read_text())
        assert tuple(spec["argv"]) == program.argv
        assert spec["env"] == program.env


def test_programs_of_an_earlier_run_are_not_kept(tmp_path: Path) -> None:
    def named(*names: str) -> list[ProgramSpec]:
        return [ProgramSpec(name, ("true",), {}, tmp_path) for name in names]

    write_files(tmp_path, [named("a", "b"), named("c")])
    write_files(tmp_path, [[], named("b")])

    assert [file.name for file in (tmp_path / "programs").iterdir()] == ["b.json"]
    assert (tmp_path / "programs" / "b.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a:b", "a\nb", "[a]", "a,b", "%(x)s"])
def test_refuses_a_name_that_supervisord_would_take_apart(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"^program: "):
        ProgramSpec(name, ("true",), {}, Path("/"))


@pytest.mark.failure(24)
def test_becomes_exactly_the_program_that_was_asked_for(tmp_path: Path) -> None:
    argv = (sys.executable, "-c", "import os, sys; print([sys.argv[1:], dict(os.environb)])")
    odd = "'\" ;#%(x)s\n\\ $HOME \N{SNOWMAN}"
    write_files(tmp_path, [[ProgramSpec("odd", (*argv, odd), {"ODD": odd}, tmp_path)]])

    answer = subprocess.run(
        [sys.executable, "-I", "-S", launch.__file__, tmp_path / "programs" / "odd.json"],
        capture_output=True,
        check=True,
        text=True,
    )

    arguments, environment = eval(answer.stdout)
    assert arguments == [odd]
    assert environment[b"ODD"] == odd.encode()
    assert b"HOME" not in environment


def test_ends_when_its_parent_does_and_starts_where_it_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[object] = []
    asked: list[tuple[int, int]] = []
    library = SimpleNamespace(prctl=lambda option, value: asked.append((option, value.value)))
    monkeypatch.chdir("/")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    monkeypatch.setattr(os, "execvpe", lambda *arguments: became.extend(arguments))
    write_files(tmp_path, [[ProgramSpec("a", ("ls", "-l"), {"A": "1"}, tmp_path)]])

    launch.main(str(tmp_path / "programs" / "a.json"))

    assert became == ["ls", ["ls", "-l"], {"A": "1"}]
    assert asked == [(1, signal.SIGTERM)]  # PR_SET_PDEATHSIG, prctl(2)
    assert Path.cwd() == tmp_path
