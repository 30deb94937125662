from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from muster.downloads import archive
from muster.downloads import packages as packages_module
from muster.downloads.errors import ContentMismatch, UnsafeArchive
from muster.downloads.packages import (
    CODE,
    NOTE,
    Package,
    PackageBroken,
    Packages,
)
from muster.downloads.store import Store
from support.downloads import (
    FakeFetcher,
    held,
    make_package,
    make_zip,
    nothing_told,
    opened_by,
    release_named,
    run,
    sha256_of,
)
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

V1, V2 = release_named("v1"), release_named("v2")
LATEST = release_named(None)
ONE, TWO = make_package("1"), make_package("2")


@pytest.mark.failure(1)
@pytest.mark.anyio
async def test_a_package_is_fetched_verified_and_unpacked_under_its_version_and_digest(
    packages: Packages, server: FakeFetcher, store: Store
) -> None:
    digest = server.publish(V1, ONE)

    async with packages.hold(V1, None, nothing_told) as package:
        assert not store.remove(digest)

    assert (package.version, package.sha256) == ("v1", digest)
    assert package.folder == store.folder / "unpacked" / f"v1-{digest[:16]}"
    assert {file.name for file in package.folder.iterdir()} == {CODE, NOTE}
    assert json.loads((package.folder / NOTE).read_text()) == {
        "name": "acme/muster",
        "version": "v1",
        "sha256": digest,
    }
    assert run(package) == "muster 1"
    assert store.remove(digest)


@pytest.mark.anyio
async def test_a_package_whose_digest_is_given_needs_no_server_twice(
    packages: Packages, server: FakeFetcher, store: Store
) -> None:
    digest = server.publish(V1, ONE)
    first = await held(packages, sha256=digest)
    assert server.asked == [V1.url]
    before = (first.folder.stat().st_ino, first.folder.stat().st_mtime_ns)

    offline = Packages(store, FakeFetcher())

    assert await held(offline, sha256=digest) == first
    assert await held(offline, LATEST, digest) == first
    assert (first.folder.stat().st_ino, first.folder.stat().st_mtime_ns) == before


@pytest.mark.failure(4)
@pytest.mark.anyio
async def test_a_file_of_another_digest_than_given_is_refused(
    packages: Packages, server: FakeFetcher, store: Store
) -> None:
    found = server.publish(V1, ONE)

    with pytest.raises(ContentMismatch) as caught:
        await held(packages, sha256=sha256_of(TWO))

    assert all(part in str(caught.value) for part in (V1.url, sha256_of(TWO), found))
    assert not list(store.folder.glob("objects/*"))
    assert not list(store.folder.glob("unpacked/*"))


def _append(package: Package) -> str:
    file = package.code / "muster" / "cli" / "__main__.py"
    file.write_text(file.read_text() + "#")
    return str(file)


def _replace_by_stale(package: Package) -> str:
    file = package.code / "muster" / "cli" / "__main__.py"
    file.write_text("print('muster 0')\n")
    return str(file)


def _add(package: Package) -> str:
    (package.code / "muster" / "added.py").touch()
    return str(package.code / "muster" / "added.py")


def _remove(package: Package) -> str:
    (package.code / "muster" / "__init__.py").unlink()
    return str(package.code / "muster" / "__init__.py")


def _forget_what_it_is(package: Package) -> str:
    (package.folder / NOTE).unlink()
    return str(package.folder / NOTE)


def _say_otherwise(package: Package) -> str:
    (package.folder / NOTE).write_text('{"name": "acme/muster", "version": "v0", "sha256": ""}')
    return str(package.folder / NOTE)


@pytest.mark.failure(4)
@pytest.mark.failure(1)
@pytest.mark.anyio
@pytest.mark.parametrize(
    "spoil", [_append, _replace_by_stale, _add, _remove, _forget_what_it_is, _say_otherwise]
)
async def test_an_unpacked_folder_that_is_not_the_release_is_refused_and_replaced(
    packages: Packages, server: FakeFetcher, store: Store, spoil: Callable[[Package], str]
) -> None:
    digest = server.publish(V1, ONE)
    package = await held(packages, sha256=digest)
    file = spoil(package)

    with capture_logs() as logs:
        assert await held(packages, sha256=digest) == package

    assert [log["event"] for log in logs] == ["unpacked_package_refused"]
    assert logs[0]["why"].startswith(f"{file} is refused: its ")
    assert ", but is " in logs[0]["why"]
    archive.compare(store.path(digest), CODE, package.code)  # nothing else is there
    assert run(package) == "muster 1"
    assert json.loads((package.folder / NOTE).read_text())["version"] == "v1"
    assert not list(store.folder.glob("trash/*"))
    assert server.asked == [V1.url]


@pytest.mark.failure(1)
@pytest.mark.anyio
async def test_a_folder_planted_before_the_first_start_is_not_run(
    packages: Packages, server: FakeFetcher, store: Store
) -> None:
    digest = server.publish(V1, ONE)
    planted = store.folder / "unpacked" / f"v1-{digest[:16]}" / CODE / "muster" / "cli"
    planted.mkdir(parents=True)
    (planted / "__main__.py").write_text("print('muster 0')\n")

    with capture_logs() as logs:
        package = await held(packages)

    assert [log["event"] for log in logs] == ["unpacked_package_refused"]
    archive.compare(store.path(digest), CODE, package.code)  # nothing else is there
    assert run(package) == "muster 1"


@pytest.mark.failure(4)
@pytest.mark.failure(1)
@pytest.mark.anyio
async def test_what_a_killed_unpack_left_is_removed(
    packages: Packages, server: FakeFetcher, store: Store
) -> None:
    digest = server.publish(V1, ONE)
    left = store.folder / "unpacked" / f".v1-{digest[:16]}-abcd"
    (left / CODE).mkdir(parents=True)
    (left / CODE / "half").touch()

    package = await held(packages)

    assert list((store.folder / "unpacked").iterdir()) == [package.folder]


@pytest.mark.failure(4)
@pytest.mark.anyio
async def test_many_that_start_at_once_make_one_request_and_one_folder(
    server: FakeFetcher, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = server.publish(V1, ONE)
    tried = []
    real = packages_module._try_out

    async def counted(code: Path, package: Package) -> None:
        tried.append(code)
        lock = store.folder / "locks" / f"unpack-{digest}"
        await eventually(lambda: opened_by(os.getpid(), lock) == 8, "the others wait")
        await real(code, package)

    monkeypatch.setattr(packages_module, "_try_out", counted)

    found = await asyncio.gather(
        *(held(Packages(Store(store.folder), server), sha256=digest) for _ in range(8))
    )

    assert len(set(found)) == 1
    assert len(tried) == 1
    assert server.asked == [V1.url]
    assert list((store.folder / "unpacked").iterdir()) == [found[0].folder]


@pytest.mark.anyio
async def test_a_package_that_does_not_run_is_not_published(
    packages: Packages, server: FakeFetcher, store: Store
) -> None:
    server.publish(V1, make_package("1", exit_code=3))

    with pytest.raises(PackageBroken) as caught:
        await held(packages)

    said = str(caught.value)
    assert said.startswith("acme/muster@v1 (worker.pyz) does not run on this machine: muster 1.")
    assert "WORKER_RELEASE_ASSET" in said
    assert not list((store.folder / "unpacked").iterdir())
    assert not list(store.folder.glob("names/release/*"))


@pytest.mark.anyio
async def test_a_package_that_does_not_answer_is_ended_and_told(
    packages: Packages, server: FakeFetcher, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages_module, "_START_S", 0.2)
    hanging = {f"{CODE}/muster/cli/__init__.py": b"import time\ntime.sleep(3600)\n"}
    server.publish(V1, make_package("1", extra=hanging))

    with pytest.raises(PackageBroken, match=r"it does not answer within 0\.2 s"):
        await held(packages)

    assert not list((store.folder / "unpacked").iterdir())


@pytest.mark.anyio
async def test_a_start_that_is_given_up_leaves_no_process_and_no_folder(
    packages: Packages, server: FakeFetcher, store: Store, tmp_path: Path
) -> None:
    mark = tmp_path / "runs"
    hanging = f"import pathlib, time\npathlib.Path({str(mark)!r}).touch()\ntime.sleep(3600)\n"
    extra = {f"{CODE}/muster/cli/__init__.py": hanging.encode()}
    server.publish(V1, make_package("1", extra=extra))
    starting = asyncio.create_task(held(packages))
    await eventually(mark.exists, "the package runs")

    starting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not list((store.folder / "unpacked").iterdir())


@pytest.mark.anyio
async def test_a_package_runs_without_what_is_beside_it(
    packages: Packages, server: FakeFetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "muster").mkdir()
    (tmp_path / "muster" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    only_here = {
        f"{CODE}/muster/cli/__init__.py": b"try:\n import httpx\nexcept ImportError: pass\n"
        b"else:\n raise SystemExit(7)\n"
    }
    server.publish(V1, make_package("1", extra=only_here))

    package = await held(packages)

    assert run(package) == "muster 1"
    assert not list(package.code.rglob("__pycache__"))


@pytest.mark.anyio
async def test_a_dangerous_package_is_refused(
    packages: Packages, server: FakeFetcher, store: Store
) -> None:
    server.publish(V1, make_zip({f"{CODE}/../../../evil": b""}))

    with pytest.raises(UnsafeArchive, match="leads out of"):
        await held(packages)

    assert not list((store.folder / "unpacked").iterdir())
