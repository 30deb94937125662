"""A tiny project with a ledger of its own, for tests of the prover."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from textwrap import dedent
from typing import TYPE_CHECKING

from muster.matrix.ledger.book import read_book
from muster.matrix.proofs.choice import choose
from muster.matrix.proofs.prover import LIMITS_S, Prover

if TYPE_CHECKING:
    from pathlib import Path

    from muster.matrix.proofs.prover import Outcome

CODE = "src/muster/lamps.py"
TESTS = "tests/unit/test_lamps.py"
GOOD_CODE = '''\
"""Lamps."""

LAMP = "lamp"


def lamps(count):
    """One lamp for each."""
    return [LAMP] * count


def dark():
    """No lamps."""
    return []
'''
GOOD_TEST = """\
from muster.lamps import lamps


def test_one_for_each():
    assert len(lamps(3)) == 3, "three are wanted"
"""
CAUGHT = "three are wanted"
TWO_LAMPS = ("[LAMP] * count", "[LAMP] * 2")


@dataclass
class Project:
    """A work tree with one module, one file of tests, and one failure."""

    root: Path

    def __post_init__(self) -> None:
        """Lay it out, and commit it."""
        self.write("src/muster/__init__.py", "")
        self.write(CODE, GOOD_CODE)
        self.write(TESTS, GOOD_TEST)
        self.write("pyproject.toml", '[tool.pytest.ini_options]\naddopts = "--strict-markers"\n')
        self.write(".gitignore", "__pycache__/\n/results/\n")
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit()

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def git(self, *arguments: str) -> str:
        """Run git, as somebody."""
        who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        return subprocess.run(
            ["git", *who, *arguments], cwd=self.root, check=True, capture_output=True, text=True
        ).stdout

    def commit(self) -> None:
        """Commit all there is."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=As it is")

    def fault(self, old: str, new: str, file: str = CODE) -> str:
        """Return a patch that puts ``new`` where ``old`` is."""
        path = self.root / file
        before = path.read_text(encoding="utf-8")
        assert old in before, f"{old!r} is not in {file}"
        path.write_text(before.replace(old, new), encoding="utf-8")
        patch = self.git("diff", "--", file)
        path.write_text(before, encoding="utf-8")
        return patch

    def record(
        self,
        patch: str,
        *,
        number: int = 1,
        signature: str = CAUGHT,
        tests: tuple[str, ...] = ("test_one_for_each",),
        must_catch: tuple[str, ...] = (),
        state: str = "active",
    ) -> None:
        """Write a failure with one fault."""
        folder = f"failures/{number:04}-too-dark"
        self.write(f"{folder}/dark.patch", patch)
        named = "".join(f'[[test]]\ntier = "unit"\nid = "{TESTS}::{test}"\n' for test in tests)
        must = ", ".join(f'"{TESTS}::{test}"' for test in must_catch)
        head = dedent(f"""\
            +++
            id = {number}
            title = "Too dark"
            date = 2025-07-16
            environment = "A house"
            impact = "Nobody sees anything."
            symptoms = ["dark"]
            state = "{state}"
            reason = "The house was sold."
            since = 2025-07-17
            [[cause]]
            name = "two-lamps"
            kind = "code"
            text = "Somebody wrote 2."
            [[fault]]
            file = "dark.patch"
            cause = "two-lamps"
            text = "Two lamps, whatever was asked for."
            tiers = ["unit"]
            signature = '{signature}'
            tests = [{must}]
            """)
        self.write(f"{folder}/record.md", f"{head}{named}+++\nIt was dark.\n")

    def prove(self, *numbers: int, limit_s: float = LIMITS_S["unit"]) -> Outcome:
        """Prove what there is, which is one thing."""
        proofs = choose(read_book(self.root), numbers, ["unit"])
        prover = Prover(self.root, gpus=1, limits_s={**LIMITS_S, "unit": limit_s})
        with prover.proving(proofs, jobs=2) as outcomes:
            [outcome] = list(outcomes)
        return outcome
