from __future__ import annotations

import os
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from muster.downloads.errors import ContentMismatch, DownloadFailed, UnsafeArchive
from muster.downloads.packages import PackageBroken
from muster.downloads.store import Store
from muster.fleet.model import ReleaseId
from muster.fleet.running import installed_release
from muster.machine import code as code_module
from muster.machine.code import Code, installed, prepared
from support.downloads import (
    FakeFetcher,
    make_package,
    make_zip,
    release_named,
    sha256_of,
    spoil,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from muster.machine.settings import MachineSettings

    Load = Callable[..., MachineSettings]

V1, V2 = release_named("v1"), release_named("v2")
RELEASES = {"RELEASE_HOST": str(V1.host), "WORKER_RELEASE_ASSET": V1.asset}
ONE, TWO = make_package("1"), make_package("2")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeFetcher:
    """The release pages, as far as a machine sees them."""
    server = FakeFetcher()

    @asynccontextmanager
    async def open_fetcher(_: MachineSettings) -> AsyncIterator[FakeFetcher]:
        yield server

    monkeypatch.setattr(code_module, "open_fetcher", open_fetcher)
    return server


@pytest.fixture
def machine(load: Load) -> Load:
    """Load the settings of a machine that is to run a release."""

    def machine(release: str, **environment: str) -> MachineSettings:
        return load(**RELEASES, WORKER_RELEASE=f"acme/muster@{release}", **environment)

    return machine


async def code_of(settings: MachineSettings) -> Code:
    async with prepared(settings) as code:
        return code


def run(code: Code) -> str:
    answer = subprocess.run(
        [*code.command, "--version"],
        env={**os.environ, **code.env},
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.strip()


@pytest.mark.anyio
async def test_without_a_release_workers_run_what_is_installed(
    load: Load, server: FakeFetcher
) -> None:
    code = await code_of(load())

    assert code == installed()
    assert code == Code(installed_release(), (sys.executable, "-m", "muster.cli"), {}, "")
    assert not server.asked


@pytest.mark.anyio
async def test_workers_run_the_release_that_was_asked_for(
    machine: Load, server: FakeFetcher
) -> None:
    digest = server.publish(V1, ONE)
    settings = machine("v1")

    async with prepared(settings) as code:
        assert code.release == ReleaseId(name="acme/muster", version="v1", sha256=digest)
        assert code.complaint == ""
        assert run(code) == "muster 1"
        assert not Store(settings.store_dir).remove(digest)

    assert Store(settings.store_dir).remove(digest)


@pytest.mark.anyio
async def test_going_back_is_one_setting(machine: Load, server: FakeFetcher) -> None:
    for release, data in ((V1, ONE), (V2, TWO)):
        server.publish(release, data)

    said = [run(await code_of(machine(tag))) for tag in ("v1", "latest", "v1")]

    assert said == ["muster 1", "muster 2", "muster 1"]
    assert server.asked.count(V1.url) == 1


@pytest.mark.anyio
async def test_a_release_of_another_digest_than_the_settings_say_is_refused(
    machine: Load, server: FakeFetcher
) -> None:
    server.publish(V1, ONE)

    with pytest.raises(ContentMismatch, match=sha256_of(TWO)):
        await code_of(machine("v1", WORKER_RELEASE_SHA256=sha256_of(TWO)))


@pytest.mark.failure(4)
@pytest.mark.anyio
async def test_a_release_that_cannot_be_had_is_refused_though_an_older_one_is_there(
    machine: Load, server: FakeFetcher
) -> None:
    server.publish(V1, ONE)
    await code_of(machine("v1"))

    with pytest.raises(DownloadFailed) as caught:
        await code_of(machine("v2"))

    assert caught.value.url == V2.checksum.url


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("served", "error"),
    [
        pytest.param(None, DownloadFailed, id="not there"),
        pytest.param(make_package("2", exit_code=1), PackageBroken, id="does not run"),
        pytest.param(make_zip({"../evil": b""}), UnsafeArchive, id="unsafe"),
        pytest.param(b"<html>", UnsafeArchive, id="no package"),
    ],
)
async def test_the_older_release_stands_in_where_that_is_allowed(
    machine: Load, server: FakeFetcher, served: bytes | None, error: type[Exception]
) -> None:
    digest = server.publish(V1, ONE)
    await code_of(machine("v1"))
    if served is not None:
        server.publish(V2, served)
    with pytest.raises(error) as caught:
        await code_of(machine("v2", WORKER_RELEASE_FALLBACK="0"))

    settings = machine("v2", WORKER_RELEASE_FALLBACK="1")
    with capture_logs() as logs:
        async with prepared(settings) as code:
            assert not Store(settings.store_dir).remove(digest)

    assert code.release == ReleaseId(name="acme/muster", version="v1", sha256=digest)
    assert run(code) == "muster 1"
    assert code.complaint == (
        "release acme/muster@v2 cannot be had, so that its workers run acme/muster@v1: "
        f"{caught.value}"
    )
    assert [log["complaint"] for log in logs if log["event"] == "older_release"] == [code.complaint]


@pytest.mark.anyio
@pytest.mark.parametrize("older", ["none", "spoiled", "of another file"])
async def test_without_a_good_older_release_the_first_trouble_is_told(
    machine: Load, server: FakeFetcher, older: str
) -> None:
    if older != "none":
        asset = "other.pyz" if older == "of another file" else V1.asset
        digest = server.publish(release_named("v1", asset=asset), ONE)
        settings = machine("v1")
        settings = settings.model_copy(update={"worker_release": release_named("v1", asset=asset)})
        await code_of(settings)
        if older == "spoiled":
            spoil(Store(settings.store_dir).path(digest), b"spoiled")

    with pytest.raises(DownloadFailed) as caught:
        await code_of(machine("v2", WORKER_RELEASE_FALLBACK="1"))

    assert caught.value.url == V2.checksum.url
