"""One trial: the named tests in one tree, in one pytest, with a hard end."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from muster.machine import leftovers
from muster.matrix.proofs import reporter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MARKER = "MUSTER_PROOF"
"""The variable by which processes are found that outlived their pytest."""

TERM_WAIT_S = 30.0
_PLUGIN = "muster_proof_reporter"
_NOT_INHERITED = ("GIT_", "PYTEST_", "COVERAGE_", "COV_", "MUSTER_PROOF")


@dataclass(frozen=True, slots=True)
class Phase:
    """How one phase (setup, call, teardown) of one test ended, and what its failure says."""

    test: str
    phase: str
    outcome: str
    message: str


@dataclass(slots=True)
class Trial:
    """What one pytest told. ``exit_code`` is None when it was ended for taking too long."""

    exit_code: int | None
    seconds: float
    said: str
    code: str = ""
    collected: list[str] = field(default_factory=list)
    not_collected: list[Phase] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)


class Trials:
    """Runs pytests, from any thread; ``stop`` ends all of them, and whatever they started."""

    def __init__(self, workshop: Path) -> None:
        self._workshop = workshop
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False
        self._mark = secrets.token_hex(8)
        self._plugins = workshop / "plugins"
        self._plugins.mkdir()
        shutil.copy(reporter.__file__, self._plugins / f"{_PLUGIN}.py")

    def environment(self, tree: Path, mark: str = "") -> dict[str, str]:
        """Return the variables with which the code in a copy runs, and no other."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)
        }
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)
        paths = (str(tree / "src"), str(self._plugins))
        return {**inherited, "PYTHONPATH": os.pathsep.join(paths), MARKER: mark or self._mark}

    def run(
        self, tree: Path, tests: Sequence[str], *, limit_s: float, options: Sequence[str] = ()
    ) -> Trial:
        """Run these tests in a copy, each once, in the order in which they are named."""
        mark = secrets.token_hex(8)
        folder = self._workshop / f"trial-{mark}"
        folder.mkdir()
        env = self.environment(tree, mark)
        env[reporter.REPORT_VARIABLE] = str(folder / "report.jsonl")
        started = time.monotonic()
        with (folder / "out").open("wb") as out:
            process = self._start(
                [
                    *(sys.executable, "-m", "pytest", "-p", _PLUGIN, "-p", "no:cacheprovider"),
                    *("-p", "no:randomly", "-p", "no:rerunfailures", "--tb=short", "-q"),
                    *(f"--basetemp={folder / 'tmp'}", *options, *tests),
                ],
                tree,
                env,
                out,
            )
            exit_code = self._wait(process, limit_s)
        leftovers.end({MARKER: mark}, term_wait_s=TERM_WAIT_S if exit_code is None else 2.0)
        said = (folder / "out").read_text(encoding="utf-8", errors="replace")
        trial = Trial(exit_code, time.monotonic() - started, said)
        _read(folder / "report.jsonl", trial)
        shutil.rmtree(folder, ignore_errors=True)
        return trial

    def stop(self) -> None:
        """End every pytest that runs, and start no more."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for process in running:
            _signal(process, signal.SIGTERM)
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(TERM_WAIT_S)
            _signal(process, signal.SIGKILL)

    def _start(
        self, argv: list[str], tree: Path, env: dict[str, str], out: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise KeyboardInterrupt
            process = subprocess.Popen(
                argv,
                cwd=tree,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own: Ctrl-C is for us, who end it in order
            )
            self._running.add(process)
        return process

    def _wait(self, process: subprocess.Popen[bytes], limit_s: float) -> int | None:
        try:
            return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(TERM_WAIT_S)
            return None
        finally:
            _signal(process, signal.SIGKILL)  # of its group, what is left
            process.wait()
            with self._lock:
                self._running.discard(process)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _read(report: Path, trial: Trial) -> None:
    """Take over what the plugin wrote; a last line that is cut short belongs to a killed pytest."""
    lines = report.read_text(encoding="utf-8").splitlines() if report.exists() else []
    for line in lines:
        with suppress(json.JSONDecodeError):
            fact = json.loads(line)
            if fact["kind"] == "code":
                trial.code = fact["file"]
            elif fact["kind"] == "collected":
                trial.collected.append(fact["test"])
            elif fact["kind"] == "not collected":
                failure = Phase(fact["test"], "collection", "failed", fact["message"])
                trial.not_collected.append(failure)
            else:
                phase = Phase(fact["test"], fact["phase"], fact["outcome"], fact["message"])
                trial.phases.append(phase)
