"""Which proofs are asked for: of which failures, at which tiers, touched by which changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from muster.errors import InvalidInput
from muster.matrix.git import git
from muster.matrix.ledger.book import FOLDER
from muster.matrix.proofs.patches import FaultRotted, touched

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from muster.matrix.ledger.book import Book, Entry
    from muster.matrix.ledger.record import Fault, Tier

DEFAULT_TIERS: tuple[Tier, ...] = ("unit", "integration")
_MAIN = ("origin/main", "main", "origin/master", "master")


@dataclass(frozen=True)
class Proof:
    """One thing to prove: that the tests of a tier catch a failure's fault."""

    entry: Entry
    fault: Fault
    tier: Tier

    @property
    def number(self) -> int:
        """The failure's number."""
        return self.entry.record.id

    @property
    def patch(self) -> Path:
        """Where the fault is."""
        return self.entry.patch(self.fault)

    @property
    def must_catch(self) -> list[str]:
        """The tests that all have to catch it; none named, one of the record's is enough."""
        at_tier = {test.id for test in self.entry.record.at(self.tier)}
        return [test for test in self.fault.tests if test in at_tier]

    @property
    def tests(self) -> list[str]:
        """The tests to run with the fault."""
        return self.must_catch or [test.id for test in self.entry.record.at(self.tier)]


def choose(book: Book, numbers: Sequence[int], tiers: Sequence[Tier]) -> list[Proof]:
    """Return the proofs of these failures at these tiers; none named: of all, at the default ones.

    Raises ``NotFound`` for a number without a record, and ``InvalidInput`` for a failure or tier
    that was named and for which there is nothing to prove.
    """
    entries = [book.entry(number) for number in dict.fromkeys(numbers)]
    wanted = tuple(dict.fromkeys(tiers)) or DEFAULT_TIERS
    proofs = [
        Proof(entry, fault, tier)
        for entry in entries or book
        if entry.record.state == "active"
        for fault in entry.record.faults
        for tier in wanted
        if tier in fault.tiers
    ]
    for entry in entries:
        _check_chosen(entry, wanted, [proof.tier for proof in proofs if proof.entry is entry])
    for tier in tiers:
        if tier not in {proof.tier for proof in proofs}:
            whose = "the chosen failures" if entries else "any failure"
            raise InvalidInput(
                "--tier",
                f"has no fault of {whose} to catch",
                "Name another tier, or add it to a fault's `tiers` in its record.",
                value=tier,
            )
    return proofs


def _check_chosen(entry: Entry, wanted: Sequence[Tier], found: Collection[Tier]) -> None:
    record = entry.record
    if record.state != "active":
        raise InvalidInput(
            "failure",
            f"is {record.state}, so there is nothing to prove",
            f"{record.reason or 'Its record says why.'}",
            value=record.id,
        )
    if not found:
        others = sorted({tier for fault in record.faults for tier in fault.tiers})
        raise InvalidInput(
            "failure",
            f"has no fault at tier {' or '.join(wanted)}",
            f"Use --tier {others[0]}." if others else "Add a [[fault]] to its record.",
            value=record.id,
        )


def touched_by(changed: frozenset[str], proofs: Iterable[Proof], root: Path) -> list[Proof]:
    """Return the proofs whose record, fault, tests, or faulted code are among the changed files."""
    return [proof for proof in proofs if not changed.isdisjoint(_files_of(proof, root, changed))]


def _files_of(proof: Proof, root: Path, changed: frozenset[str]) -> set[str]:
    """Return the files that a proof stands on; the whole folder of its record counts."""
    folder = f"{FOLDER}/{proof.entry.folder.name}/"
    tests = {test.partition("::")[0] for test in proof.tests}
    fixtures = {
        str(parent / "conftest.py") for test in tests for parent in PurePosixPath(test).parents
    }
    try:
        code = set(touched(proof.patch, root))
    except FaultRotted:
        code = {folder + proof.fault.file}
    return {*(name for name in changed if name.startswith(folder)), *tests, *fixtures, *code}


def changed_files(root: Path) -> frozenset[str]:
    """Return what differs from where this branch left main; on main, from the commit before."""
    base = _base(root)
    # Of a file that moved, both names: the faults are in the old one.
    tracked = git("diff", "--name-only", "--no-renames", "-z", base, tree=root).stdout
    new = git("ls-files", "-z", "--others", "--exclude-standard", tree=root).stdout
    return frozenset(filter(None, (tracked + new).split("\0")))


def _base(root: Path) -> str:
    head = git("rev-parse", "HEAD", tree=root).stdout.strip()
    for main in _MAIN:
        found = git("merge-base", "HEAD", main, tree=root, check=False)
        if found.returncode == 0 and found.stdout.strip() != head:
            return found.stdout.strip()
    branch = git("symbolic-ref", "--quiet", "--short", "HEAD", tree=root, check=False)
    is_main = branch.returncode or branch.stdout.strip() in _MAIN  # without a branch, as CI has it
    return "HEAD~1" if is_main else "HEAD"
