"""The ``muster`` command."""

from __future__ import annotations

import logging
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from muster.cli import extensions, fleet, jobs, queue, run, simulate, store, submission, tokens
from muster.errors import InvalidInput, MusterError, RedisUnavailable

app = typer.Typer(
    name="muster",
    help="Run an elastic fleet of GPU machines, and jobs on it. Begin with `muster up`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
run.register(app)
submission.register(app)
jobs.register(app)
queue.register(app)
fleet.register(app)
store.register(app)
simulate.register(app)
tokens.register(app)
extensions.register(app)


def main() -> None:
    """Run the command line, and end with the exit code that says how it went.

    1 is failure, 2 is bad input; either with one clear message on stderr.
    """
    try:
        app()
    except (InvalidInput, RedisUnavailable) as error:
        _fail(error, 2)
    except MusterError as error:
        _fail(error, 1)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"muster {version('muster-fleet')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _fail(error: MusterError, code: int) -> None:
    typer.echo(f"muster: {error}", err=True)
    sys.exit(code)
