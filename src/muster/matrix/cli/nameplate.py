"""``muster nameplate``: what an environment's Redis says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis

    from muster.fleet.nameplate import Nameplate


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    group = typer.Typer(
        help="Write or show which environment the Redis at $REDIS_URL belongs to.",
        no_args_is_help=True,
    )
    for command in (write, show, permit):
        group.command()(command)
    app.add_typer(group, name="nameplate", rich_help_panel="Tests")


def write(
    environment: Annotated[str, typer.Argument(help="Its name, such as staging.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the name of another environment.")
    ] = False,
) -> None:
    """Write the nameplate, once, when the environment is provisioned."""
    from muster.fleet import nameplate

    _tell(_with_redis(lambda redis: nameplate.write(redis, environment, replace=replace)))


def show() -> None:
    """Show the nameplate."""
    from muster.fleet import nameplate

    _tell(_with_redis(nameplate.read))


def permit(
    act: Annotated[Literal["write", "destructive"], typer.Argument(help="What tests may do.")],
    minutes: Annotated[int, typer.Option(help="For how long.", min=1, max=24 * 60)] = 30,
) -> None:
    """Let tests do, for a while, what the environment does not allow.

    It takes a second act: whoever runs the tests gives --override-rails with the environment's
    name.
    """
    from muster.fleet import nameplate

    _tell(_with_redis(lambda redis: nameplate.permit(redis, act, seconds=60 * minutes)))


def _tell(plate: Nameplate) -> None:
    also = f", permits {plate.permits} for now" if plate.permits else ""
    typer.echo(f"{plate.environment} (written {plate.written_at:%Y-%m-%d %H:%M} UTC{also})")


def _with_redis(work: Callable[[Redis], Awaitable[Nameplate]]) -> Nameplate:
    import asyncio

    from muster.jobs.connection import check, connect
    from muster.settings import RedisSettings

    async def run() -> Nameplate:
        settings = RedisSettings.load()
        redis = connect(settings)
        try:
            await check(redis, settings)
            return await work(redis)
        finally:
            await redis.aclose()

    return asyncio.run(run())
