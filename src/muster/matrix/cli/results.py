"""``muster results``: what the runs of the matrix said, kept, compared and shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from muster.cli.session import Json, ago, console, print_json

if TYPE_CHECKING:
    from muster.matrix.results.store import Store

FOLDER = Path("results")

Where = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="MUSTER_RESULTS_URL",
        help="SQLite or PostgreSQL. [default: sqlite:///results/results.db]",
        show_default=False,
        show_envvar=True,
    ),
]
RunName = Annotated[
    str, typer.Argument(help="The beginning of a run's id, or a session: its newest run.")
]
PROJECT = Path("pyproject.toml")


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    group = typer.Typer(help="Keep, compare and show the results of runs.", no_args_is_help=True)
    for command in (show, compare, prune, report, check, coverage):
        group.command()(command)
    group.command("import")(import_files)
    group.command("list")(list_runs)
    app.add_typer(group, name="results", rich_help_panel="Matrix")


def import_files(
    folder: Annotated[Path, typer.Argument(help="Where run files are.")] = FOLDER / "runs",
    as_json: Json = False,
    store: Where = None,
) -> None:
    """Bring run files into the store. Those that are there already stay as they are."""
    with _open(store) as opened:
        taken = _import(opened, folder)
    print_json(taken) if as_json else typer.echo(f"{len(taken)} new runs.")


def list_runs(
    session: Annotated[str | None, typer.Option(help="Of this session only.")] = None,
    env: Annotated[str | None, typer.Option(help="Of this environment only.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many of the newest.")] = 20,
    as_json: Json = False,
    store: Where = None,
) -> None:
    """List runs, the newest first."""
    with _open(store) as opened:
        runs = opened.runs(session=session, environment=env, limit=limit)
    if as_json:
        print_json(runs)
        return
    from rich.table import Table

    table = Table(
        "Run", "Session", "Env", "State", "Failed", "Tests", "Seconds", "Revision", "When"
    )
    for run in runs:
        revision = run.revision[:10] + ("+" if run.dirty else "")
        seconds = "" if run.duration_s is None else f"{run.duration_s:.1f}"
        state = f"{run.state} (part)" if run.part else str(run.state)
        table.add_row(
            run.id, run.session, run.environment, state, str(run.failed), str(run.tests),
            seconds, revision, ago(run.started),
        )  # fmt: skip
    console().print(table)


def show(run: RunName, as_json: Json = False, store: Where = None) -> None:
    """Show one run: what failed, the slowest tests, its measures."""
    from muster.matrix.results import telling

    with _open(store) as opened:
        told = telling.of_run(opened, run)
    print_json(told) if as_json else typer.echo(told.text())


def compare(before: RunName, after: RunName, as_json: Json = False, store: Where = None) -> None:
    """Compare two runs: what fails newly, what no more, what takes longer, how measures moved."""
    from muster.matrix.results import comparison

    with _open(store) as opened:
        told = comparison.compare(opened, before, after)
    print_json(told) if as_json else typer.echo(told.text())


def prune(
    files: Annotated[int, typer.Option(min=0, help="So many run files stay.")] = 300,
    runs: Annotated[int, typer.Option(min=0, help="So many runs stay in the store.")] = 2000,
    folder: Annotated[Path, typer.Option(help="Where run files are.")] = FOLDER / "runs",
    as_json: Json = False,
    store: Where = None,
) -> None:
    """Remove old run files, and old runs from the store; the newest stay."""
    from muster.matrix.results import runfile

    removed = len(runfile.prune(folder, files))
    with _open(store) as opened:
        forgotten = opened.prune(runs)
    if as_json:
        print_json({"files": removed, "runs": forgotten})
    else:
        typer.echo(f"Removed {removed} run files, and {forgotten} runs from the store.")


def report(
    target: Annotated[Path, typer.Option("--to", help="The page.")] = FOLDER / "report.html",
    folder: Annotated[Path, typer.Option(help="What sessions left.")] = FOLDER,
    alert: Annotated[bool, typer.Option("--alert", help="Check first, as `check` does.")] = False,
    store: Where = None,
) -> None:
    """Import new runs, and write one page about all."""
    from muster.matrix.results import facts, page

    with _open(store) as opened:
        _import(opened, folder / "runs")
        problems = _judge(opened) if alert else 0
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page.render(facts.gather(opened, folder, PROJECT)), encoding="utf-8")
    typer.echo(f"{target} is written.")
    if problems:
        raise typer.Exit(1)


def check(as_json: Json = False, store: Where = None) -> None:
    """Judge the newest runs by the rules in pyproject.toml and envs/; fail if there are problems.

    A problem is told once to the webhook that MUSTER_WEBHOOK_URL names, signed with
    MUSTER_WEBHOOK_SECRET, and once more when it is over.
    """
    from muster.matrix.results import alerts

    with _open(store) as opened:
        _import(opened, FOLDER / "runs")
        problems = _judge(opened, quiet=as_json)
        if as_json:
            print_json(alerts.known(opened))
    if problems:
        raise typer.Exit(1)


def coverage(as_json: Json = False) -> None:
    """Compare results/coverage.json with the floor, and show changed lines that no test reaches."""
    from muster.matrix.results import covered

    found = covered.examine(Path(), FOLDER / "coverage.json")
    print_json(found) if as_json else typer.echo(found.text())
    found.check()


def _judge(store: Store, *, quiet: bool = False) -> int:
    """Find problems, tell of them, and return how many there are."""
    from muster.matrix.results import alerts, rulebook, webhook

    alerts.remember(store, alerts.find(store, rulebook.load(PROJECT)))
    problems = alerts.known(store)
    if not quiet:
        for problem in problems:
            typer.echo(f"{problem.kind}: {problem.told}")
        typer.echo(f"{len(problems)} problems.")
    hook = webhook.from_environment()
    if hook:
        alerts.announce(store, hook.send)
    return len(problems)


def _open(url: str | None) -> Store:
    from muster.matrix.results.store import Store

    if url is None:
        FOLDER.mkdir(exist_ok=True)
    return Store(url or f"sqlite:///{FOLDER / 'results.db'}")


def _import(store: Store, folder: Path) -> list[str]:
    """Import all files of runs that are over; return the ids of new ones."""
    from muster.matrix.results import importing

    return importing.import_folder(store, folder)
