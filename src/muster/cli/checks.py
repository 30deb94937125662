"""What ``muster doctor`` checks, each by a function that says what it found."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
import tempfile
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

import platformdirs
from pydantic import BaseModel

from muster import embedded
from muster.client import Client
from muster.client.errors import Refused, ServerUnavailable
from muster.errors import MusterError
from muster.jobs.connection import check, connect, where
from muster.machine import gpus
from muster.settings import RedisSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OLDEST_PYTHON = (3, 11)
LEAST_FREE_GIB = 5


class Finding(BaseModel):
    """What one check found, and what to do about it."""

    what: str
    verdict: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""


def examine(url: str | None, token: str | None) -> list[Finding]:
    """Run all checks."""
    checks: list[Callable[[], Finding]] = [
        _muster,
        _python,
        _redis_server,
        _redis,
        _gpus,
        _data_folder,
        lambda: _server(url, token),
    ]
    return [run() for run in checks]


def _muster() -> Finding:
    return Finding(what="Muster", verdict="ok", found=version("muster-fleet"))


def _python() -> Finding:
    good = sys.version_info >= OLDEST_PYTHON
    return Finding(
        what="Python",
        verdict="ok" if good else "fail",
        found=platform.python_version(),
        remedy="" if good else "Use Python 3.11 or newer.",
    )


def _redis_server() -> Finding:
    try:
        found = str(embedded.find_server())
    except MusterError as error:
        return Finding(
            what="redis-server",
            verdict="warn",
            found="none; `muster up` needs one",
            remedy=str(error),
        )
    return Finding(what="redis-server", verdict="ok", found=found)


def _redis() -> Finding:
    """Check the Redis that a server, machine or worker on this computer would use."""
    what = "Redis"
    if "REDIS_URL" not in os.environ:
        return Finding(
            what=what,
            verdict="ok",
            found="REDIS_URL is not set: only servers, machines and workers need it",
        )
    try:
        settings = RedisSettings.load()
        asyncio.run(_check_redis(settings))
    except MusterError as error:
        return Finding(what=what, verdict="fail", found="cannot be used", remedy=str(error))
    return Finding(what=what, verdict="ok", found=f"{where(settings)} answers, and never evicts")


async def _check_redis(settings: RedisSettings) -> None:
    async with connect(settings) as redis:
        await check(redis, settings)


def _gpus() -> Finding:
    try:
        found = gpus.detect()
    except MusterError as error:
        return Finding(what="GPUs", verdict="warn", found="the driver fails", remedy=str(error))
    if not found:
        return Finding(
            what="GPUs",
            verdict="warn",
            found="none seen",
            remedy="A machine without NVIDIA GPUs needs NUM_GPUS; `muster up` simulates them.",
        )
    named = ", ".join(f"{gpu.name} ({gpu.memory_mib} MiB)" for gpu in found)
    return Finding(what="GPUs", verdict="ok", found=f"{len(found)}: {named}")


def _data_folder() -> Finding:
    folder = platformdirs.user_data_path("muster")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            free_gib = shutil.disk_usage(folder).free / 2**30
    except OSError as error:
        return Finding(
            what="Data folder",
            verdict="fail",
            found=f"{folder}: {error.strerror}",
            remedy="Make it writable, or set XDG_DATA_HOME to a folder that is.",
        )
    return _space(folder, free_gib)


def _space(folder: Path, free_gib: float) -> Finding:
    enough = free_gib >= LEAST_FREE_GIB
    return Finding(
        what="Data folder",
        verdict="ok" if enough else "warn",
        found=f"{folder}, {free_gib:.0f} GiB free",
        remedy="" if enough else f"Make room: {LEAST_FREE_GIB} GiB are little for models.",
    )


def _server(url: str | None, token: str | None) -> Finding:
    what = "Server"
    try:
        with Client(url, token, patience_s=1) as client:
            status = client.queue()
            place = client.server.url
    except (Refused, ServerUnavailable) as error:
        return Finding(what=what, verdict="fail", found="cannot be used", remedy=str(error))
    except MusterError as error:
        return Finding(what=what, verdict="warn", found="none chosen", remedy=str(error))
    paused = ", paused" if status.paused else ""
    return Finding(what=what, verdict="ok", found=f"{place}, queue {status.queue}{paused}")
