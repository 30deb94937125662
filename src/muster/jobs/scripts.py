"""Lua scripts: loaded from a package's ``lua/`` folder, called by their digest."""

from __future__ import annotations

from functools import cached_property
from hashlib import sha1
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

INCLUDE = "-- include: "


class Script:
    """One script of a package; a line ``-- include: NAME`` brings in ``muster.jobs``' library."""

    def __init__(self, package: str, name: str) -> None:
        self.package = package
        self.name = name

    @cached_property
    def source(self) -> str:
        """The script's text with its libraries in place."""
        libraries = files("muster.jobs") / "lua" / "lib"
        lines = (files(self.package) / "lua" / f"{self.name}.lua").read_text().splitlines()
        return "\n".join(
            (libraries / f"{line.removeprefix(INCLUDE)}.lua").read_text()
            if line.startswith(INCLUDE)
            else line
            for line in lines
        )

    @cached_property
    def digest(self) -> str:
        """The SHA-1 by which Redis knows the script."""
        return sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, redis: Redis, root: str, *args: str | bytes | float) -> Any:
        """Run it on the queue at ``root``, sending its text only when Redis does not have it."""
        try:
            return await redis.evalsha(self.digest, 1, root, *args)
        except NoScriptError:
            return await redis.eval(self.source, 1, root, *args)

    def add_to(self, pipeline: Pipeline, root: str, *args: str | bytes | float) -> None:
        """Add it to a pipeline, with its text: a pipeline cannot ask again in its middle."""
        pipeline.eval(self.source, 1, root, *args)
