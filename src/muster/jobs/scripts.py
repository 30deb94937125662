"""The queue's Lua scripts: loaded from ``lua/``, called by their name."""

from __future__ import annotations

from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

INCLUDE = "-- include: "


@cache
def source(name: str) -> str:
    """Return a script's text with its libraries in place."""
    folder = files("muster.jobs") / "lua"
    lines = []
    for line in (folder / f"{name}.lua").read_text().splitlines():
        library = line.removeprefix(INCLUDE)
        lines.append(
            (folder / "lib" / f"{library}.lua").read_text() if line.startswith(INCLUDE) else line
        )
    return "\n".join(lines)


@cache
def digest(name: str) -> str:
    """Return the SHA-1 by which Redis knows the script."""
    return sha1(source(name).encode(), usedforsecurity=False).hexdigest()


async def call(redis: Redis, name: str, root: str, *args: str | bytes | float) -> Any:
    """Run a script on the queue at ``root``, sending its text only when Redis does not have it."""
    try:
        return await redis.evalsha(digest(name), 1, root, *args)
    except NoScriptError:
        return await redis.eval(source(name), 1, root, *args)


def queue_call(pipeline: Pipeline, name: str, root: str, *args: str | bytes | float) -> None:
    """Add a script to a pipeline, with its text: a pipeline cannot ask again in its middle."""
    pipeline.eval(source(name), 1, root, *args)
