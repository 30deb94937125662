"""Commands about the queue as a whole."""

from __future__ import annotations

import typer

from muster.cli.session import Json, Token, Url, connect, print_json


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    for command in (pause, resume):
        app.command(rich_help_panel="Jobs")(command)


def pause(as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Hand out no more jobs. Running ones go on, submissions are taken."""
    with connect(url, token) as client:
        status = client.pause()
    print_json(status) if as_json else typer.echo(f"Queue {status.queue} is paused.")


def resume(as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Hand out jobs again."""
    with connect(url, token) as client:
        status = client.resume()
    print_json(status) if as_json else typer.echo(f"Queue {status.queue} hands out jobs.")
