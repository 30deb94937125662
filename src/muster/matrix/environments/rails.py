"""What holds tests off: pure judgements, so that each can be shown to refuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from muster.errors import MusterError
from muster.matrix.environments.model import Act

if TYPE_CHECKING:
    from muster.fleet.nameplate import Nameplate
    from muster.matrix.environments.model import Environment


class Refused(MusterError):
    """The environment does not allow this."""


@dataclass(frozen=True, slots=True)
class Deed:
    """What a test does: its act, and whether all that it writes is the canary job."""

    act: Act = Act.DESTRUCTIVE
    canary: bool = False

    def __str__(self) -> str:
        return "canary" if self.canary else str(self.act)


def check_plate(environment: Environment, plate: Nameplate | None, where: str) -> None:
    """Raise ``Refused`` unless the system at ``where`` says that it is that environment."""
    if plate is None:
        raise Refused(
            f"Tests were asked for in {environment.name}, but the system at {where} has no "
            "nameplate: it does not say what it is. Its operator writes one with "
            f"`muster nameplate write {environment.name}`, if that is what it is."
        )
    if plate.environment != environment.name:
        raise Refused(
            f"Tests were asked for in {environment.name}, but the system at {where} says that it "
            f"is {plate.environment}. Correct the address, or name that environment (--env)."
        )


def refusal(environment: Environment, deed: Deed) -> str | None:
    """Say why tests that do this have no place in the environment; None if they have."""
    if environment.allows(deed.act) or (deed.canary and deed.act is Act.WRITE):
        return None
    return f"{deed.act} is not allowed in {environment.name} ({', '.join(environment.acts)})"


def check_deed(
    environment: Environment, deed: Deed, plate: Nameplate, override: str | None
) -> None:
    """Raise ``Refused`` unless the environment allows it, or both acts of an override were done.

    The one is a command-line option that names the environment, by whoever runs the tests; the
    other a permit on the nameplate, by whoever operates the system.
    """
    reason = refusal(environment, deed)
    if reason is None:
        return
    if override != environment.name:
        raise Refused(f"{reason}. Overriding that takes --override-rails={environment.name}, too.")
    if plate.permits is None or not Act(plate.permits).includes(deed.act):
        raise Refused(
            f"{reason}. --override-rails is one half of an override; the other is a permit by the "
            f"system's operator: `muster nameplate permit {deed.act}`."
        )


def check_override(environment: Environment, override: str | None) -> None:
    """Raise ``Refused`` if an override names another environment than the tests run in."""
    if override is not None and override != environment.name:
        raise Refused(
            f"--override-rails names {override}, but tests were asked for in {environment.name}."
        )


def check_tier(allowed: list[str], tier: str, test: str) -> None:
    """Raise ``Refused`` for a test of another tier than the session's (``--tier``)."""
    for wanted in allowed:
        if tier != wanted:
            raise Refused(
                f"{test} is of the tier {tier}, and this session runs {wanted} alone. Use the "
                f"session of that tier (`nox --list` shows them)."
            )
