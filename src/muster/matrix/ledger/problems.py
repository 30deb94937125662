"""What is wrong with the ledger, each said with its place and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from muster.errors import MusterError

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong: the file, the field in it if there is one, and the remedy."""

    file: str
    field: str
    text: str
    remedy: str

    def __str__(self) -> str:
        """Say it in one line."""
        where = f"{self.file}: {self.field}" if self.field else self.file
        return f"{where}: {self.text}. {self.remedy}"


class BadLedger(MusterError):
    """The records of failures cannot be used; ``problems`` says why, one by one."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(["these records cannot be used:", *map(str, self.problems)]))
