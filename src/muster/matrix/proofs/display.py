"""Shows proofs: live while they run, and as a table at the end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from muster.matrix.ledger.kept import KeptVerdict
    from muster.matrix.proofs.prover import Outcome


def shown_live(outcomes: Iterable[Outcome], total: int) -> Iterator[Outcome]:
    """Pass outcomes on, each told in a line on stderr, with a bar below where there is a screen."""
    console = Console(stderr=True, highlight=False)
    bar = Progress(
        TextColumn("proving"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=console, disable=not console.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task("", total=total)
        for outcome in outcomes:
            console.print(_line(outcome), soft_wrap=True)
            bar.advance(task)
            yield outcome


def print_table(outcomes: Sequence[Outcome]) -> None:
    """Print what was proved and what was not, by failure."""
    table = Table(title="Proofs", title_justify="left", show_edge=False, pad_edge=False)
    for name in ("failure", "fault", "tier", "caught by"):
        table.add_column(name, overflow="fold")
    table.add_column("time", justify="right", no_wrap=True)
    for outcome in sorted(outcomes, key=lambda each: (each.proof.number, each.proof.fault.file)):
        proof = outcome.proof
        table.add_row(
            str(proof.number),
            proof.patch.stem,
            proof.tier,
            Text(f"NOT PROVED: {outcome.problem}", "red")
            if outcome.problem
            else Text("\n".join(_short(test) for test in outcome.caught)),
            f"{outcome.seconds:.1f} s",
        )
    console = Console(highlight=False)
    console.print(table)
    console.print(summary(outcomes), soft_wrap=True)


def print_json(verdicts: Sequence[KeptVerdict]) -> None:
    """Print the verdicts for programs."""
    print(json.dumps([each.model_dump(mode="json") for each in verdicts], indent=2))


def summary(outcomes: Sequence[Outcome]) -> str:
    """Say how many were proved."""
    bad = sum(bool(outcome.problem) for outcome in outcomes)
    good = len(outcomes) - bad
    faults = "fault was" if good == 1 else "faults were"
    return f"{good} {faults} caught" + (f", {bad} not proved" if bad else "")


def _line(outcome: Outcome) -> Text:
    proof = outcome.proof
    what = f"{proof.number} {proof.patch.stem} ({proof.tier})"
    if outcome.problem:
        return Text(f"not proved  {what}: {outcome.problem}", "red")
    return Text(f"proved      {what}")


def _short(test: str) -> str:
    return test.rpartition("::")[2]
