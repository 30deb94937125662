"""What a supervisor is asked to run, and the files that tell supervisord so."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muster.client.profile import write_private
from muster.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CONFIG = "supervisord.conf"
LOGS = "logs"
SOCKET_VARIABLE = "MUSTER_SUPERVISOR_SOCKET"
LAUNCH_VARIABLE = "MUSTER_LAUNCH"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SPECS = "programs"
_HEAD = f"""\
[unix_http_server]
file=%(ENV_{SOCKET_VARIABLE})s
chmod=0700

[supervisord]
nodaemon=true
silent=true
nocleanup=true
identifier=muster
logfile=supervisord.log
logfile_maxbytes=5MB
logfile_backups=1
pidfile=supervisord.pid

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""


@dataclass(frozen=True, slots=True)
class ProgramSpec:
    """One program to supervise. Times are in seconds.

    ``env`` is its whole environment. It counts as running once it has lived for
    ``start_seconds``; if it does not, it is tried ``start_attempts`` times more, each time a
    second later than before, and then given up (FATAL) until it is started again. It is stopped by
    ``stop_signal``, and by SIGKILL if that has not ended it within ``stop_wait_s``.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    directory: Path
    stop_signal: str = "TERM"
    stop_wait_s: int = 10
    start_seconds: int = 1
    start_attempts: int = 5

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidInput(
                "program", "is not a name", "Use letters, digits, dots, dashes.", value=self.name
            )


def write_files(directory: Path, stages: Sequence[Sequence[ProgramSpec]]) -> None:
    """Write a supervisord's configuration into its folder, and nothing of an earlier one stays.

    The configuration itself holds names and numbers only: supervisord's format cannot say every
    path, argument and value. They are in one JSON file for each program, which ``launch`` reads.
    """
    shutil.rmtree(directory / _SPECS, ignore_errors=True)
    for folder in (LOGS, _SPECS):
        (directory / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    for program in (program for stage in stages for program in stage):
        write_private(directory / _SPECS / f"{program.name}.json", spec_text(program))
    write_private(directory / CONFIG, config_text(stages))


def spec_text(program: ProgramSpec) -> str:
    """Return the JSON that ``launch`` reads: ASCII, so that no locale can change it."""
    return json.dumps(
        {
            "argv": list(program.argv),
            "env": dict(program.env),
            "directory": str(program.directory),
        }
    )


def group(stage: int) -> str:
    """Return what supervisord calls a stage."""
    return f"stage{stage}"


def config_text(stages: Sequence[Sequence[ProgramSpec]]) -> str:
    """Return supervisord's configuration, with one group for each stage.

    supervisord stops the programs of a group at once, and its groups one after the other, that of
    the highest priority first: so the stages keep their order whoever stops it.
    """
    groups = [
        f"[group:{group(number)}]\n"
        f"programs={','.join(program.name for program in stage)}\n"
        f"priority={len(stages) - number}\n"
        for number, stage in enumerate(stages)
        if stage
    ]
    return "\n".join(
        [_HEAD, *groups, *(_section(program) for stage in stages for program in stage)]
    )


def _section(program: ProgramSpec) -> str:
    return f"""\
[program:{program.name}]
command=%(ENV_{LAUNCH_VARIABLE})s {_SPECS}/{program.name}.json
autostart=false
autorestart=true
startsecs={program.start_seconds}
startretries={program.start_attempts}
stopsignal={program.stop_signal}
stopwaitsecs={program.stop_wait_s}
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={LOGS}/{program.name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=2
"""
