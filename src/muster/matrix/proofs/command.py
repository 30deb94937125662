"""The command line of the prover: ``python -m muster.matrix.proofs``, or ``nox -s prove --``."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from muster.errors import MusterError
from muster.matrix.git import git
from muster.matrix.ledger.book import find_root, read_book
from muster.matrix.ledger.kept import PLACE, KeptVerdict, keep
from muster.matrix.ledger.record import TIERS
from muster.matrix.proofs import display
from muster.matrix.proofs.choice import changed_files, choose, touched_by
from muster.matrix.proofs.prover import Prover

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from muster.matrix.ledger.record import Tier
    from muster.matrix.proofs.choice import Proof
    from muster.matrix.proofs.prover import Outcome

NOT_PROVED = 1
BAD_INPUT = 2
INTERRUPTED = 130


def main() -> None:
    """Run the command, and end with 0 if all is proved, 1 if not, 2 for what cannot be tried."""
    # Set, since a shell that starts us in the background has SIGINT ignored, and children inherit.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(prove)
    try:
        app(standalone_mode=True)
    except MusterError as error:
        typer.echo(f"prove: {error}", err=True)
        sys.exit(BAD_INPUT)


def prove(  # noqa: PLR0913, PLR0917  (typer reads options from it)
    failures: Annotated[
        list[int] | None, typer.Argument(metavar="[N]...", help="Failures; none: all.")
    ] = None,
    tier: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(TIERS)}; may be repeated. Default: unit and integration."),
    ] = None,
    changed: Annotated[
        bool,
        typer.Option(
            "--changed", help="Only what this branch changed: record, fault, tests, code."
        ),
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Trials at once.")] = os.cpu_count() or 1,
    gpus: Annotated[
        int, typer.Option(min=1, max=8, help="GPUs of the system tier's machines.")
    ] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Print verdicts as JSON.")] = False,
) -> None:
    """Put the causes of failures back, one at a time, and see their tests catch them."""
    root = find_root()
    proofs = choose(read_book(root), failures or [], [_tier(name) for name in tier or []])
    if changed:
        proofs = touched_by(changed_files(root), proofs, root)
    outcomes: list[Outcome] = []
    try:
        _prove_all(root, proofs, outcomes, jobs=jobs, gpus=gpus)
    except KeyboardInterrupt:
        typer.echo("prove: interrupted; what ran was ended.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    finally:
        verdicts = _kept(root, outcomes)
    if as_json:
        display.print_json(verdicts)
    elif outcomes:
        display.print_table(outcomes)
    else:
        typer.echo("Nothing to prove.")
    if any(outcome.problem for outcome in outcomes):
        raise typer.Exit(NOT_PROVED)


def _tier(name: str) -> Tier:
    for tier in TIERS:
        if tier == name:
            return tier
    raise typer.BadParameter(f"{name!r} is none of {', '.join(TIERS)}", param_hint="--tier")


def _prove_all(
    root: Path, proofs: Sequence[Proof], outcomes: list[Outcome], *, jobs: int, gpus: int
) -> None:
    """Add to ``outcomes`` as they come, so that those there are kept however this ends."""
    if not proofs:
        return
    with Prover(root, gpus=gpus).proving(proofs, jobs) as coming:
        for outcome in display.shown_live(coming, len(proofs)):
            outcomes.append(outcome)  # noqa: PERF402  (one at a time)


def _kept(root: Path, outcomes: Sequence[Outcome]) -> list[KeptVerdict]:
    """Keep the verdicts beside the results of tests."""
    if not outcomes:
        return []
    revision = git("rev-parse", "--short=12", "HEAD", tree=root).stdout.strip()
    if git("status", "--porcelain", tree=root).stdout:
        revision += "+"
    verdicts = [
        KeptVerdict(
            failure=outcome.proof.number,
            fault=outcome.proof.fault.file,
            tier=outcome.proof.tier,
            verdict="not proved" if outcome.problem else "proved",
            reason=outcome.problem,
            tests=list(outcome.caught),
            seconds=round(outcome.seconds, 2),
            at=outcome.at,
            revision=revision,
        )
        for outcome in outcomes
    ]
    keep(root / PLACE, verdicts)
    return verdicts
