"""The last verdict of each proof, kept in ``results/proofs.json`` for those who show them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter, ValidationError

from muster.errors import InvalidInput
from muster.matrix.ledger.record import Tier

if TYPE_CHECKING:
    from collections.abc import Iterable

PLACE = Path("results", "proofs.json")
About = tuple[int, str, Tier]


class KeptVerdict(BaseModel):
    """What one proof found: a failure's fault, put back, and run against the tests of a tier."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    failure: int
    fault: str
    """The patch's file name."""
    tier: Tier
    verdict: Literal["proved", "not proved"]
    reason: str = ""
    """Why it is not proved."""
    tests: list[str] = []
    """The tests that caught it, without parameters."""
    seconds: float
    at: AwareDatetime
    revision: str
    """The commit that was tested, with ``+`` behind it if files had been changed."""

    @property
    def about(self) -> About:
        """What it is a verdict on; a newer one on the same takes its place."""
        return self.failure, self.fault, self.tier


_FILE = TypeAdapter(list[KeptVerdict])


def read_verdicts(path: Path) -> list[KeptVerdict]:
    """Return the verdicts of a file, sorted; none if nothing was proved yet.

    Raise ``InvalidInput`` if the file is not what ``keep`` writes.
    """
    try:
        return sorted(_FILE.validate_json(path.read_bytes()), key=_order)
    except FileNotFoundError:
        return []
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InvalidInput(
            str(path), f"cannot be read ({place}: {first['msg']})", "Remove it, and prove again."
        ) from None


def keep(path: Path, verdicts: Iterable[KeptVerdict]) -> None:
    """Add verdicts to a file; each takes the place of the older one on the same."""
    merged = {each.about: each for each in read_verdicts(path)}
    merged |= {each.about: each for each in verdicts}
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_bytes(_FILE.dump_json(sorted(merged.values(), key=_order), indent=2) + b"\n")
    new.replace(path)


def _order(verdict: KeptVerdict) -> About:
    return verdict.about
