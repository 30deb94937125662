"""What the sessions cover together: never less than the floor, and the floor never falls."""

from __future__ import annotations

import json
import re
import tomllib
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from muster.errors import InvalidInput, MusterError
from muster.matrix.git import git

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PYPROJECT = "pyproject.toml"
_FILE = re.compile(r"^\+\+\+ b/(.+)$")
_HUNK = re.compile(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@")


class NotCovered(MusterError):
    """The tests cover less than they must."""


class Covered(BaseModel):
    """What is covered, in percent, and which changed lines are not; ``base`` is what they changed.

    ``floor_of_base`` is None where the base has no floor, or is not known.
    """

    percent: float
    floor: float
    base: str | None
    floor_of_base: float | None
    changed: int
    missed: dict[str, list[int]]

    def text(self) -> str:
        """Return it for people."""
        lines = [f"{self.percent:.1f} % is covered; the floor is {self.floor} %."]
        if self.base is None:
            lines.append("Which lines changed is not known: Git knows no main branch here.")
            return "\n".join(lines)
        missed = sum(map(len, self.missed.values()))
        lines.append(f"{self.changed} lines of code changed since {self.base[:10]}.")
        if missed:
            lines[-1] += f" No test reaches {missed} of them:"
        lines += [f"  {file}: {_ranges(numbers)}" for file, numbers in self.missed.items()]
        return "\n".join(lines)

    def check(self) -> None:
        """Raise ``NotCovered`` if less is covered than the floor, or the floor fell."""
        if self.percent < self.floor:
            raise NotCovered(
                f"{self.percent:.2f} % is covered, and the floor in {PYPROJECT} is {self.floor} %. "
                "Test what you added; the weakest files are in results/report.html."
            )
        if self.floor_of_base is not None and self.floor < self.floor_of_base:
            raise NotCovered(
                f"The floor in {PYPROJECT} only rises. It is {self.floor} %, and was "
                f"{self.floor_of_base} % before."
            )


def examine(root: Path, measured: Path) -> Covered:
    """Compare what ``coverage json`` wrote with the floor and with what changed."""
    try:
        told: dict[str, Any] = json.loads(measured.read_bytes())
    except FileNotFoundError:
        raise InvalidInput(str(measured), "is not there", "Run `nox -s coverage`.") from None
    base = _base(root)
    changed = {} if base is None else changed_lines(_diff(root, base))
    shown = git("show", f"{base}:{PYPROJECT}", tree=root, check=False).stdout if base else ""
    files = told["files"]
    code = {
        file: set(numbers) & {*files[file]["executed_lines"], *files[file]["missing_lines"]}
        for file, numbers in changed.items()
        if file in files
    }
    missed = {
        file: sorted(lines & set(files[file]["missing_lines"])) for file, lines in code.items()
    }
    return Covered(
        percent=told["totals"]["percent_covered"],
        floor=_floor(tomllib.loads((root / PYPROJECT).read_text(encoding="utf-8"))) or 0.0,
        base=base,
        floor_of_base=_floor(tomllib.loads(shown)) if shown else None,
        changed=sum(map(len, code.values())),
        missed={file: lines for file, lines in missed.items() if lines},
    )


def changed_lines(diff: str) -> dict[str, list[int]]:
    """Return the numbers of lines that a diff without context adds, by file."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    file = ""
    for line in diff.splitlines():
        if named := _FILE.match(line):
            file = named[1]
        elif hunk := _HUNK.match(line):
            first, count = int(hunk[1]), int(hunk[2] or 1)
            found[file] += range(first, first + count)
    return dict(found)


def _floor(pyproject: dict[str, Any]) -> float | None:
    floor = pyproject.get("tool", {}).get("muster", {}).get("coverage", {}).get("combined")
    return None if floor is None else float(floor)


def _diff(root: Path, base: str) -> str:
    return git("diff", "-U0", base, "--", "src", tree=root).stdout


def _base(root: Path) -> str | None:
    """Return the commit at which this branch left the main one."""
    for main in ("origin/main", "main"):
        found = git("merge-base", "HEAD", main, tree=root, check=False).stdout.strip()
        if found:
            return found
    return None


def _ranges(numbers: Iterable[int]) -> str:
    """Return sorted numbers as 3-5, 9."""
    ordered = list(numbers)
    breaks = [i for i, (a, b) in enumerate(pairwise(ordered), 1) if b != a + 1]
    parts = [ordered[i:j] for i, j in pairwise([0, *breaks, len(ordered)])]
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)
