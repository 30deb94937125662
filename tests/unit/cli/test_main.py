"""How a command ends: one clear line, and an exit code that scripts can test."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

import muster.cli
from muster.errors import InvalidInput, MusterError, NotFound, RedisUnavailable

if TYPE_CHECKING:
    from support.cli import Muster


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInput("NUM_GPUS", "is not a number", "Use 1 to 8.", value="two"), 2),
        (RedisUnavailable(), 2),
        (NotFound("There is no job 'x'."), 1),
        (MusterError(), 1),
    ],
)
def test_expected_errors_end_in_one_line_and_their_code(
    error: MusterError,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def failing() -> None:
        raise error

    monkeypatch.setattr(muster.cli, "app", failing)

    with pytest.raises(SystemExit) as ended:
        muster.cli.main()

    assert ended.value.code == code
    assert capsys.readouterr().err == f"muster: {error}\n"


def test_the_version_is_told(muster: Muster) -> None:
    assert muster("--version").out == f"muster {version('muster-fleet')}\n"


COMMANDS = (
    "up server machine worker submit jobs explain cancel retry pause resume machines workers "
    "drain undrain restart doctor token"
)


@pytest.mark.parametrize("command", COMMANDS.split())
def test_every_command_has_help(muster: Muster, command: str) -> None:
    assert muster(command, "--help").code == 0
