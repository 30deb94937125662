"""The command line, run in the test's process."""

from __future__ import annotations

from dataclasses import dataclass

from typer.testing import CliRunner

from muster.cli import app
from muster.errors import MusterError


@dataclass(frozen=True)
class Outcome:
    """How a command ended; ``error`` is what ``main`` turns into a message and a code."""

    code: int
    out: str
    error: MusterError | None


class Muster:
    """Runs ``muster`` commands."""

    def __call__(self, *arguments: str, stdin: str | None = None) -> Outcome:
        """Run one."""
        result = CliRunner().invoke(app, arguments, input=stdin)
        if result.exception and not isinstance(result.exception, MusterError | SystemExit):
            raise result.exception
        error = result.exception if isinstance(result.exception, MusterError) else None
        return Outcome(result.exit_code, result.output, error)
