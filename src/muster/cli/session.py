"""What the commands share that speak to a server: their options, the client, their output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from muster.client import Client

PATIENCE_S = 3.0
WATCHING_PATIENCE_S = 60.0

Url = Annotated[
    str | None,
    typer.Option("--url", help="The server's URL. [default: $MUSTER_URL, else the profile's]"),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        help="The token to show. Others on this computer can see it here, so prefer "
        "$MUSTER_TOKEN. [default: $MUSTER_TOKEN, else the profile's]",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def connect(url: str | None, token: str | None, *, patience_s: float = PATIENCE_S) -> Client:
    """Return a client for the server that the options, the environment or the profile name."""
    from muster.client import Client

    return Client(url, token, patience_s=patience_s)


def print_json(value: Any) -> None:
    """Print models, or lists or dicts of them, as JSON."""
    from pydantic import TypeAdapter

    typer.echo(TypeAdapter(Any).dump_json(value, indent=2))


def console() -> Console:
    """Return where people read: no colours and no cut lines when that is not a terminal."""
    from rich.console import Console

    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=200)


def ago(moment: Any) -> str:
    """Say how long ago a time was, by this computer's clock."""
    from datetime import UTC, datetime

    if moment is None:
        return "never"
    seconds = max(0, int((datetime.now(UTC) - moment).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
