"""``muster token``: who is let in by a server, and for what."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from muster.server.auth import TokensFile

Name = Annotated[str, typer.Argument(help="Whose token it is.")]
File = Annotated[
    Path | None,
    typer.Option(
        "--file",
        help="The server's tokens file. [default: $MUSTER_TOKENS_FILE, else the one in the "
        "user's configuration folder]",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    group = typer.Typer(help="Add, list and remove the tokens of a server.", no_args_is_help=True)
    for command in (add, remove):
        group.command()(command)
    group.command("list")(show)
    app.add_typer(group, name="token", rich_help_panel="Access")


def add(
    name: Name,
    role: Annotated[
        Literal["view", "submit", "operate"],
        typer.Option(help="What it is good for; each role may do what those before it may."),
    ] = "submit",
    file: File = None,
) -> None:
    """Make a token and print it, this once: the file keeps its digest only."""
    from muster.server.auth import Role, new_token

    token, entry = new_token(name, Role(role))
    _tokens(file).add(entry)
    typer.echo(token)


def remove(name: Name, file: File = None) -> None:
    """Remove a token. It opens nothing from now on."""
    _tokens(file).remove(name)
    typer.echo(f"Token {name} is removed.")


def show(file: File = None) -> None:
    """List the tokens by name and role."""
    for entry in _tokens(file).entries():
        typer.echo(f"{entry.name} {entry.role}")


def _tokens(file: Path | None) -> TokensFile:
    from muster.server.auth import TokensFile
    from muster.server.settings import ServerSettings

    return TokensFile(file or ServerSettings.load().tokens_file)
