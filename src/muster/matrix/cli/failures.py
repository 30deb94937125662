"""``muster failures``: the ledger of what failed, why, and what would catch it now."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from muster.matrix.ledger.book import Entry
    from muster.matrix.ledger.scaffold import Draft

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Root = Annotated[
    Path | None,
    typer.Option("--root", help="The project's folder. [default: the nearest with failures/]"),
]
failures = typer.Typer(
    help="Failures that happened: their records, and the tests that would catch them again.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(failures, name="failures", rich_help_panel="Matrix")


@failures.command()
def new(
    title: Annotated[str | None, typer.Option(help="What failed, in one line.")] = None,
    when: Annotated[
        datetime | None,
        typer.Option("--date", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z"], help="When."),
    ] = None,
    environment: Annotated[str | None, typer.Option(help="Where it ran.")] = None,
    impact: Annotated[str | None, typer.Option(help="What it did to people and jobs.")] = None,
    symptom: Annotated[list[str] | None, typer.Option(help="What was seen. Repeatable.")] = None,
    cause: Annotated[
        list[str] | None,
        typer.Option(help="A root cause: 'KIND: TEXT', as in 'immediate: …'. Repeatable."),
    ] = None,
    tier: Annotated[
        list[str] | None,
        typer.Option(help="A tier to write a test at; 'none' for none yet. Repeatable."),
    ] = None,
    owner: Annotated[str | None, typer.Option(help="Who sees to it, with no test yet.")] = None,
    root: Root = None,
) -> None:
    """Write down a failure: its record, and a failing test to be written at each tier.

    Asks for all that the options do not say. With `--tier none` the record is kept as uncovered,
    and needs an owner.
    """
    from muster.matrix.ledger.book import find_root
    from muster.matrix.ledger.scaffold import Draft, begin

    project = find_root(root)
    tiers = _tiers(tier)
    draft = Draft(
        title=title or typer.prompt("What failed, in one line"),
        date=_day(when),
        environment=environment or typer.prompt("Where did it run"),
        impact=impact or typer.prompt("What did it do to people and jobs"),
        symptoms=symptom or _ask_for_several("What was seen"),
        causes=_causes(cause),
        tiers=tiers if tier else (tiers := _ask_for_tiers()),
        owner="" if tiers else owner or typer.prompt("Who sees to it, as there is no test yet"),
    )
    for file in begin(project, draft):
        typer.echo(f"written: {file.relative_to(project)}")
    typer.echo(_next_steps(draft))


@failures.command("list")
def list_(as_json: Json = False, root: Root = None) -> None:
    """List all failures, with their tests and faults."""
    from muster.cli.session import console, print_json

    rows = [_summary(entry) for entry in _read(root)]
    if as_json:
        print_json(rows)
        return
    if not rows:
        typer.echo("No failure is written down yet. `muster failures new` does.")
        return
    from rich.table import Table

    table = Table("", "failure", "date", "state", "tests", "faults")
    for row in rows:
        tests = ", ".join(f"{count} {tier}" for tier, count in row["tests"].items())
        day = str(row["date"])[:10]
        table.add_row(str(row["id"]), row["title"], day, row["state"], tests, str(row["faults"]))
    console().print(table)


@failures.command()
def show(
    number: Annotated[int, typer.Argument(help="The failure's number.")],
    as_json: Json = False,
    root: Root = None,
) -> None:
    """Show all about one failure, with the last outcomes of its tests and proofs."""
    from muster.cli.session import print_json
    from muster.matrix.ledger import kept, outcomes, page

    book = _read(root)
    entry = book.entry(number)
    last = outcomes.last_outcomes(book.root / outcomes.PLACE)
    verdicts = [v for v in kept.read_verdicts(book.root / kept.PLACE) if v.failure == number]
    if as_json:
        of_it = {test.id: last.get(test.id) for test in entry.record.tests}
        found = {"story": entry.story, "outcomes": of_it, "proofs": verdicts}
        print_json(entry.record.model_dump() | found)
    else:
        typer.echo(page.without_marks(page.section(entry, last, verdicts)))


@failures.command()
def check(as_json: Json = False, root: Root = None) -> None:
    """Check that records, tests, measures and faults agree; exit 1 if they do not."""
    from muster.cli.session import print_json
    from muster.matrix.ledger.book import find_root
    from muster.matrix.ledger.gate import check as run_gate

    project = find_root(root)
    problems = run_gate(project)
    if as_json:
        print_json(problems)
    else:
        for problem in problems:
            typer.echo(str(problem))
        count = f"{len(problems)} problem{'s' * (len(problems) > 1)}"
        typer.echo(count if problems else "The ledger is in order.")
    if problems:
        raise typer.Exit(1)


@failures.command()
def render(
    output: Annotated[
        Path | None, typer.Option(help="Where to write it. [default: docs/failures.md]")
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="The folder of the results. [default: results]")
    ] = None,
    root: Root = None,
) -> None:
    """Write the living test plan from the records and the last results.

    What the page said of earlier results stays where there are no newer ones.
    """
    from muster.matrix.ledger import kept, outcomes, page

    book = _read(root)
    found = results or book.root / "results"
    target = output or book.root / page.PAGE
    text = page.render(
        book,
        outcomes.last_outcomes(found / outcomes.PLACE.name),
        kept.read_verdicts(found / kept.PLACE.name),
        earlier=target.read_text(encoding="utf-8") if target.is_file() else "",
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    typer.echo(f"written: {target}")


def _read(root: Path | None) -> Any:
    from muster.matrix.ledger.book import find_root, read_book

    return read_book(find_root(root))


def _summary(entry: Entry) -> dict[str, Any]:
    from muster.matrix.ledger.record import TIERS

    record = entry.record
    counts = {tier: len(record.at(tier)) for tier in TIERS}
    return {
        "id": record.id,
        "title": record.title,
        "date": record.date,
        "state": record.state,
        "tests": {tier: count for tier, count in counts.items() if count},
        "faults": len(record.faults),
        "folder": entry.folder.name,
    }


def _day(when: datetime | None) -> date:
    """Return the day; and the time, if that was given, with its zone."""
    if when is None:
        from datetime import UTC

        today = datetime.now(UTC).date().isoformat()
        answer = typer.prompt("When, as in 2025-07-16 or 2025-07-16T09:30:00Z", default=today)
        try:
            return (
                date.fromisoformat(answer) if len(answer) == 10 else datetime.fromisoformat(answer)
            )
        except ValueError:
            raise typer.BadParameter(f"{answer!r} is no date; write 2025-07-16") from None
    return when if when.tzinfo else when.date()


def _ask_for_several(question: str) -> list[str]:
    answers = [typer.prompt(question)]
    while more := typer.prompt("… what else (nothing ends)", default="", show_default=False):
        answers.append(more)
    return answers


def _causes(given: list[str] | None) -> list[tuple[str, str]]:
    if not given:
        causes = [("immediate", typer.prompt("The immediate cause"))]
        question = "The cause that underlies it (nothing if it is not known)"
        if underlying := typer.prompt(question, default="", show_default=False):
            causes.append(("underlying", underlying))
        return causes
    parted = [each.partition(":") for each in given]
    return [(kind.strip().lower(), text.strip()) for kind, _, text in parted]


def _tiers(given: list[str] | None) -> list[Any]:
    from muster.matrix.ledger.record import TIERS

    tiers = [tier for tier in given or [] if tier != "none"]
    for tier in tiers:
        if tier not in TIERS:
            raise typer.BadParameter(f"{tier!r} is no tier; use {', '.join(TIERS)}, or none")
    return tiers


def _ask_for_tiers() -> list[Any]:
    answer = typer.prompt("Tiers to write a test at, or none", default="unit")
    return _tiers(answer.replace(",", " ").split())


def _next_steps(draft: Draft) -> str:
    if not draft.tiers:
        return "It is uncovered: see docs/failure-process.md for what comes next."
    return (
        "Now write the tests, which fail until you do; then see docs/failure-process.md for how "
        "to put the causes back and prove that the tests catch them."
    )
