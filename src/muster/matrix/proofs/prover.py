"""Proves: control and faults, side by side, each in a copy of its own."""

from __future__ import annotations

import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from muster.matrix.proofs import patches, preflight, verdicts
from muster.matrix.proofs.copies import copy_copy, copy_tree
from muster.matrix.proofs.patches import FaultRotted
from muster.matrix.proofs.preflight import NotImportable
from muster.matrix.proofs.trials import Trials

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from muster.matrix.ledger.book import Entry
    from muster.matrix.ledger.record import Tier
    from muster.matrix.proofs.choice import Proof
    from muster.matrix.proofs.trials import Trial

LIMITS_S: Mapping[Tier, float] = {
    "unit": 120.0,
    "integration": 600.0,
    "browser": 300.0,
    "system": 1800.0,
    "load": 1800.0,
}
"""Hard ends of one trial, in seconds."""

_ALONE: frozenset[Tier] = frozenset({"system", "load"})
"""Tiers whose trials would disturb each other: they share an engine, or measure."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a proof found; ``problem`` is empty when it is proved. ``seconds`` are the fault's."""

    proof: Proof
    problem: str
    caught: tuple[str, ...]
    seconds: float
    at: datetime


class Prover:
    """Runs controls and faults in a workshop, a folder that goes with it."""

    def __init__(self, root: Path, *, gpus: int, limits_s: Mapping[Tier, float] = LIMITS_S) -> None:
        self._root = root
        self._gpus = gpus
        self._limits_s = limits_s
        self._workshop = Path(tempfile.mkdtemp(prefix="muster-proofs-"))
        self._base = self._workshop / "base"
        self._trials = Trials(self._workshop)
        self._alone = threading.Lock()

    @contextmanager
    def proving(self, proofs: Sequence[Proof], jobs: int) -> Iterator[Iterator[Outcome]]:
        """Give the outcomes as they come. Leaving it, however, ends all that still runs."""
        pool = ThreadPoolExecutor(jobs, thread_name_prefix="proof")
        try:
            copy_tree(self._root, self._base)
            # The controls come first, and no proof waits for one before it has its own work done:
            # so they cannot block each other.
            controls = {
                (proof.number, proof.tier): pool.submit(self._control, proof.entry, proof.tier)
                for proof in {(proof.number, proof.tier): proof for proof in proofs}.values()
            }
            yield _as_they_come(
                [
                    pool.submit(self._prove, proof, controls[proof.number, proof.tier])
                    for proof in proofs
                ]
            )
        finally:
            self._trials.stop()
            pool.shutdown(cancel_futures=True)
            shutil.rmtree(self._workshop, ignore_errors=True)

    def _control(self, entry: Entry, tier: Tier) -> str:
        """Return what is wrong with a record's tests in an untouched copy."""
        tests = [test.id for test in entry.record.at(tier)]
        trial = self._try(self._base, tests, tier)
        problem = verdicts.control_problem(trial, tests, self._base)
        return f"control: {problem}" if problem else ""

    def _prove(self, proof: Proof, control: Future[str]) -> Outcome:
        problem, caught, seconds = self._put_back(proof)
        return Outcome(proof, control.result() or problem, caught, seconds, datetime.now(UTC))

    def _put_back(self, proof: Proof) -> tuple[str, tuple[str, ...], float]:
        """Return what is wrong with the proof, which tests caught the fault, and how long it took.

        A fault that does not apply or breaks the import is not tried.
        """
        tree = Path(tempfile.mkdtemp(prefix=f"{proof.number:04}-", dir=self._workshop)) / "tree"
        copy_copy(self._base, tree)
        try:
            files = patches.apply(proof.patch, tree)
            preflight.check_import(tree, files, self._trials.environment(tree))
            trial = self._try(tree, proof.tests, proof.tier)
        except (FaultRotted, NotImportable) as error:
            return str(error), (), 0.0
        finally:
            shutil.rmtree(tree.parent, ignore_errors=True)
        judge = verdicts.Judge(trial, proof.tests, proof.fault.signature, tree)
        problem = judge.problem(all_must=bool(proof.must_catch))
        return problem, judge.caught, trial.seconds

    def _try(self, tree: Path, tests: Sequence[str], tier: Tier) -> Trial:
        options = [f"--gpus={self._gpus}"] if tier == "system" else []
        with self._alone if tier in _ALONE else nullcontext():
            return self._trials.run(tree, tests, limit_s=self._limits_s[tier], options=options)


def _as_they_come(futures: list[Future[Outcome]]) -> Iterator[Outcome]:
    for future in as_completed(futures):
        yield future.result()
