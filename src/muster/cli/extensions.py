"""Commands that other packages add, by entry points of the group ``muster.commands``."""

from __future__ import annotations

from importlib.metadata import entry_points

import typer


def register(app: typer.Typer) -> None:
    """Let each entry point's function add its commands to the app."""
    for entry in sorted(entry_points(group="muster.commands"), key=lambda each: each.name):
        entry.load()(app)
