"""Which code a machine's workers run: the release that was asked for, or the installed one."""

from __future__ import annotations

import sys
from collections.abc import Mapping  # noqa: TC003  (a dataclass shows it)
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from muster.downloads import packages
from muster.downloads.errors import ContentMismatch, DownloadFailed, NoSpace, UnsafeArchive
from muster.downloads.fetching import open_fetcher
from muster.downloads.meter import meter
from muster.downloads.packages import Package, PackageBroken, Packages
from muster.downloads.store import Store
from muster.errors import NotFound
from muster.fleet.model import ReleaseId
from muster.fleet.running import installed_release

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from muster.downloads.releases import Release
    from muster.machine.settings import MachineSettings

_NOT_HAD = (DownloadFailed, ContentMismatch, UnsafeArchive, PackageBroken, NoSpace, OSError)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Code:
    """How workers are started, and which release that is.

    ``complaint`` says why it is not the release that was asked for; empty if it is.
    """

    release: ReleaseId
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    complaint: str = ""


def installed() -> Code:
    """Return the code that is installed here."""
    return Code(installed_release(), (sys.executable, "-m", "muster.cli"))


@asynccontextmanager
async def prepared(settings: MachineSettings) -> AsyncIterator[Code]:
    """Give the code that the settings ask for: verified, unpacked, and kept while it is used.

    Raises what ``Packages.hold`` raises when it cannot be had, unless the settings allow the
    release that ran last in its place.
    """
    release = settings.worker_release
    if release is None:
        yield installed()
        return
    async with AsyncExitStack() as stack:
        try:
            package = await _fetched(settings, release, stack)
            complaint = ""
        except _NOT_HAD as error:
            if not settings.worker_release_fallback:
                raise
            package = await _older(settings, release, stack, error)
            complaint = (
                f"release {release} cannot be had, so that its workers run {package.release}: "
                f"{error}"
            )
            _log.error("older_release", complaint=complaint)
        yield _code(package, complaint)


async def _fetched(settings: MachineSettings, release: Release, stack: AsyncExitStack) -> Package:
    """Return the release's package; the stack holds it, and nothing that only fetching needs."""
    async with open_fetcher(settings) as fetcher:
        store = Packages(Store(settings.store_dir), fetcher)
        with meter(f"release {release}") as tell:
            package = store.hold(release, settings.worker_release_sha256, tell)
            return await stack.enter_async_context(package)


async def _older(
    settings: MachineSettings, release: Release, stack: AsyncExitStack, error: Exception
) -> Package:
    async with open_fetcher(settings) as fetcher:
        older = Packages(Store(settings.store_dir), fetcher).hold_older(release)
        try:
            return await stack.enter_async_context(older)
        except NotFound:
            raise error from None


def _code(package: Package, complaint: str) -> Code:
    return Code(
        ReleaseId(name=package.release.repository, version=package.version, sha256=package.sha256),
        packages.command(),
        packages.environment(package.code),
        complaint,
    )
