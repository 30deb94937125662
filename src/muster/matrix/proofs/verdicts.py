"""Judges trials: what the control must show, and what counts as a catch."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from muster.matrix.proofs.trials import Phase, Trial

PASSED = 0
FAILED = 1
_EXITS = {
    2: "pytest was interrupted",
    3: "pytest crashed",
    4: "pytest could not be started so",
    5: "there are no such tests",
}


def control_problem(trial: Trial, tests: Sequence[str], tree: Path) -> str:
    """Say why the tests prove nothing: not all there and green without a fault. Empty: they do."""
    if problem := _not_run(trial, tests, tree):
        return problem
    phases = _by_test(trial.phases)
    for test in trial.collected:
        outcomes = [phase.outcome for phase in phases[test]]
        for phase in phases[test]:
            if phase.outcome != "passed":
                return f"{_short(test)} {_told(phase)} without the fault"
        if [phase.phase for phase in phases[test]] != ["setup", "call", "teardown"]:
            return f"{_short(test)} ran {len(outcomes)} phases, not three: once, and whole"
    return "" if trial.exit_code == PASSED else _exit(trial)


@dataclass(frozen=True, slots=True)
class Judge:
    """What a trial with a fault is worth.

    A test has caught the fault if its call failed with a message in which ``signature`` is found.
    """

    trial: Trial
    tests: Sequence[str]
    signature: str
    tree: Path

    @property
    def caught(self) -> tuple[str, ...]:
        """The tests that caught the fault, without parameters."""
        if self.trial.exit_code != FAILED or _not_run(self.trial, self.tests, self.tree):
            return ()
        caught = {_plain(phase.test) for phase in self.trial.phases if self._is_catch(phase)}
        return tuple(test for test in self.tests if test in caught)

    def problem(self, *, all_must: bool) -> str:
        """Say why it is no proof; empty if it is. All tests must catch the fault, or one."""
        missed = [test for test in self.tests if test not in self.caught]
        if not missed or (self.caught and not all_must):
            return ""
        return _not_run(self.trial, self.tests, self.tree) or self._missed(missed)

    def _missed(self, tests: Sequence[str]) -> str:
        """Say what these tests did instead of catching it."""
        if self.trial.exit_code == PASSED:
            return "no test fails with the fault"
        if self.trial.exit_code != FAILED:
            return _exit(self.trial)
        failed = [
            phase
            for phase in self.trial.phases
            if phase.outcome == "failed" and _plain(phase.test) in tests
        ]
        if not failed:
            return f"{_short(tests[0])} does not fail with the fault"
        first = min(failed, key=lambda phase: phase.phase != "call")
        told = f"{_short(first.test)} {_told(first)}"
        if first.phase == "call":
            return f"{told}, where /{self.signature}/ is expected"
        return f"{told}, which is no catch"

    def _is_catch(self, phase: Phase) -> bool:
        return (
            phase.phase == "call"
            and phase.outcome == "failed"
            and re.search(self.signature, phase.message) is not None
        )


def _not_run(trial: Trial, tests: Sequence[str], tree: Path) -> str:
    """Say why the tests did not run as named, in this tree's code."""
    if trial.exit_code is None:
        return f"it was ended after {trial.seconds:.0f} s, which is no catch: {_last(trial.said)}"
    if trial.not_collected:
        first = trial.not_collected[0]
        return f"{first.test} cannot be collected: {_last(first.message)}"
    if trial.code and not Path(trial.code).resolve().is_relative_to((tree / "src").resolve()):
        return f"the tests ran with the code in {trial.code}, not with the copy's"
    there = {_plain(test) for test in trial.collected}
    if missing := [test for test in tests if test not in there]:
        return f"{missing[0]} is not there" if trial.collected else _exit(trial)
    return ""


def _by_test(phases: Iterable[Phase]) -> dict[str, list[Phase]]:
    found: dict[str, list[Phase]] = defaultdict(list)
    for phase in phases:
        found[phase.test].append(phase)
    return found


def _plain(test: str) -> str:
    return test.partition("[")[0]


def _short(test: str) -> str:
    return test.rpartition("::")[2]


def _told(phase: Phase) -> str:
    said = f": {phase.message.strip().splitlines()[0][:200]}" if phase.message.strip() else ""
    how = "fails" if phase.outcome == "failed" else f"is {phase.outcome}"
    where = "" if phase.phase == "call" else f" in its {phase.phase}"
    return f"{how}{where}{said}"


def _exit(trial: Trial) -> str:
    code = trial.exit_code
    said = _EXITS.get(code or 0, f"pytest ended with {code}")
    return f"{said}: {_last(trial.said)}"


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
