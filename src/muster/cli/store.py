"""``muster store``: the files that this machine has fetched, and keeps."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from muster.cli.session import Json, ago, console, print_json
from muster.errors import InvalidInput

if TYPE_CHECKING:
    from muster.downloads.catalogue import Model
    from muster.downloads.contents import Item
    from muster.downloads.settings import DownloadSettings
    from muster.downloads.store import Store

Folder = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        help="The store. [default: $MUSTER_STORE_DIR, else `store` in $MUSTER_DATA_DIR or in the "
        "user's data folder]",
        file_okay=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    group = typer.Typer(
        help="Look at, check and clean up the packages and models that this machine has fetched.",
        no_args_is_help=True,
    )
    group.command("ls")(show)
    for command in (get, verify, prune):
        group.command()(command)
    app.add_typer(group, name="store", rich_help_panel="Fleet")


def show(folder: Folder = None, as_json: Json = False) -> None:
    """List what the store holds, the least recently used first."""
    from muster.downloads.contents import contents

    items = contents(_store(folder))
    if as_json:
        print_json(items)
        return
    if not items:
        typer.echo("The store is empty.")
        return
    _print(items)
    typer.echo(f"{len(items)} files, {_size(items)}")


def get(
    what: Annotated[
        str,
        typer.Argument(help="A release (owner/repo@v1.2.3, or its URL), or a model's name."),
    ],
    folder: Folder = None,
    sha256: Annotated[
        str | None, typer.Option(help="The release's digest, if it is known.")
    ] = None,
) -> None:
    """Fetch a release or a model ahead of time. Hosts and so on are set as for a machine."""
    from muster.downloads.settings import DownloadSettings

    store_dir = folder and folder.absolute()
    settings = DownloadSettings.load(store_dir=store_dir)
    if model := _find_model(settings, what):
        typer.echo(asyncio.run(_get_model(settings, model)))
        return
    settings = DownloadSettings.load(
        store_dir=store_dir, worker_release=what, worker_release_sha256=sha256
    )
    typer.echo(asyncio.run(_get_release(settings)))


def verify(folder: Folder = None, as_json: Json = False) -> None:
    """Read every file, and tell which are not what they should be; exit 1 if any is not."""
    from rich.progress import track

    from muster.downloads.contents import check, contents

    store = _store(folder)
    items = contents(store)
    out = console()
    bad = {}
    for item in track(items, "Reading", console=out, disable=as_json or not out.is_terminal):
        if problem := check(store, item):
            bad[item.sha256] = problem
    if as_json:
        print_json({"files": len(items), "bad": bad})
    else:
        for problem in bad.values():
            typer.echo(problem)
        typer.echo(f"{len(items) - len(bad)} of {len(items)} files are as they should be.")
    if bad:
        raise typer.Exit(1)


def prune(
    max_age_days: Annotated[
        float, typer.Option(min=0, help="Remove what was not used for so many days.")
    ] = 30,
    budget: Annotated[
        str | None,
        typer.Option(help="Then remove the least recently used until this is left, as 200GiB."),
    ] = None,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Remove what nobody has used for long. What is in use stays."""
    from muster.downloads.contents import prune as clean_up
    from muster.downloads.settings import DownloadSettings

    pruned = clean_up(
        _store(folder),
        max_age_s=max_age_days * 86_400,
        budget=None if budget is None else _bytes(budget),
        models_kept=DownloadSettings.load().models_kept,
    )
    if as_json:
        print_json(pruned)
        return
    if pruned.removed:
        _print(pruned.removed)
    typer.echo(f"Removed {len(pruned.removed)} files, {_size(pruned.removed)}.")
    if pruned.partials:
        typer.echo(f"Removed {pruned.partials} downloads that nobody went on with.")
    if pruned.spared:
        typer.echo(f"Kept {len(pruned.spared)} that are in use.")


async def _get_release(settings: DownloadSettings) -> str:
    from muster.downloads.fetching import open_fetcher
    from muster.downloads.meter import meter
    from muster.downloads.packages import Packages
    from muster.downloads.store import Store

    release = settings.worker_release
    if release is None:
        raise InvalidInput("WHAT", "names no release", "Give one as owner/repo@v1.2.3.")
    async with open_fetcher(settings) as fetcher:
        packages = Packages(Store(settings.store_dir), fetcher)
        with meter(str(release)) as tell:
            async with packages.hold(release, settings.worker_release_sha256, tell) as package:
                return f"{package.release} {package.sha256} {package.folder}"


def _find_model(settings: DownloadSettings, name: str) -> Model | None:
    """Return the model of that name in the catalogue, if there is a catalogue."""
    from muster.downloads.catalogue import read_catalogue

    if settings.model_catalogue is None:
        return None
    return read_catalogue(settings.model_catalogue, settings.places).find(name)


async def _get_model(settings: DownloadSettings, model: Model) -> str:
    from muster.downloads.fetching import open_fetcher
    from muster.downloads.meter import meter
    from muster.downloads.models import Models
    from muster.downloads.store import Store

    models = Models(Store(settings.store_dir))
    async with open_fetcher(settings) as fetcher:
        with meter(model.name) as tell:
            async with models.store.hold(model.url, model.content, fetcher, tell) as file:
                models.offer(model)
                return f"{model.name} {model.sha256} {file}"


def _store(folder: Path | None) -> Store:
    from muster.downloads.settings import StoreSettings
    from muster.downloads.store import Store

    return Store(StoreSettings.load(store_dir=folder and folder.absolute()).store_dir)


def _print(items: list[Item]) -> None:
    from datetime import UTC, datetime

    from rich.table import Table

    table = Table("kind", "name", "size", "last used", "sha256")
    for item in items:
        used = "in use" if item.in_use else ago(datetime.fromtimestamp(item.used_at, UTC))
        table.add_row(item.kind, item.name, _size([item]), used, item.sha256[:16])
    console().print(table)


def _bytes(text: str) -> int:
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        return TypeAdapter(ByteSize).validate_python(text)
    except ValidationError:
        raise InvalidInput(
            "--budget", "is not a size", "Write it as 200GiB or 500MB.", value=text
        ) from None


def _size(items: list[Item]) -> str:
    from rich.filesize import decimal

    return decimal(sum(item.size for item in items))
