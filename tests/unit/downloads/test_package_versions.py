from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

import muster
from muster.downloads.errors import DownloadFailed
from muster.downloads.places import Host
from muster.errors import NotFound
from muster.fleet.model import ReleaseId
from muster.fleet.running import installed_release, running_release
from support.downloads import (
    FakeFetcher,
    held,
    make_package,
    release_named,
    run,
    sha256_of,
    spoil,
)

if TYPE_CHECKING:
    from muster.downloads.packages import (
        Package,
        Packages,
    )
    from muster.downloads.store import Store

V1, V2 = release_named("v1"), release_named("v2")
LATEST = release_named(None)
ONE, TWO = make_package("1"), make_package("2")


@pytest.mark.anyio
async def test_latest_is_what_its_redirect_says_now(
    packages: Packages, server: FakeFetcher
) -> None:
    server.publish(V1, ONE)
    assert (await held(packages, LATEST)).version == "v1"

    server.publish(V2, TWO)
    package = await held(packages, LATEST)

    assert (package.version, run(package)) == ("v2", "muster 2")
    assert (await held(packages, V1)).version == "v1"


@pytest.mark.anyio
async def test_latest_that_cannot_be_asked_for_is_not_the_stored_one(
    packages: Packages, server: FakeFetcher
) -> None:
    server.publish(V1, ONE)
    await held(packages, LATEST)
    server.redirects.clear()

    with pytest.raises(DownloadFailed, match="latest/download"):
        await held(packages, LATEST)


@pytest.mark.anyio
@pytest.mark.parametrize("to", ["https://releases.example/login", LATEST.url])
async def test_latest_that_leads_to_no_release_is_told(
    packages: Packages, server: FakeFetcher, to: str
) -> None:
    server.redirects[LATEST.url] = to

    with pytest.raises(DownloadFailed, match=r"which names no release\. Name one by tag") as caught:
        await held(packages, LATEST)

    assert to in str(caught.value)


@pytest.mark.anyio
async def test_the_published_digest_is_asked_for_again_and_only_sent_when_it_changed(
    packages: Packages, server: FakeFetcher
) -> None:
    server.publish(V1, ONE)
    await held(packages)
    await held(packages)
    assert server.unchanged == [V1.checksum.url]
    assert server.asked.count(V1.url) == 1

    digest = server.publish(V1, TWO)  # the tag was moved
    package = await held(packages)

    assert (package.sha256, run(package)) == (digest, "muster 2")
    assert server.unchanged == [V1.checksum.url]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "said",
    [
        "",
        "\n",
        "<html>Not found</html>",
        f"{'g' * 64}  worker.pyz",
        f"{'a' * 63}  worker.pyz",
        f"{'a' * 128}  worker.pyz",
        f"SHA256 (worker.pyz) = {'a' * 64}",
    ],
)
async def test_a_checksum_that_is_none_is_told(
    packages: Packages, server: FakeFetcher, said: str
) -> None:
    server.publish(V1, ONE, checksum=said)

    with pytest.raises(DownloadFailed, match=r"does not begin with a SHA-256.*sha256sum") as caught:
        await held(packages)

    assert caught.value.url == V1.checksum.url
    assert V1.url not in server.asked


@pytest.mark.anyio
@pytest.mark.parametrize("said", ["{digest}", "{digest}\n", "{upper} *worker.pyz\n"])
async def test_a_checksum_may_be_written_in_several_ways(
    packages: Packages, server: FakeFetcher, said: str
) -> None:
    digest = sha256_of(ONE)
    server.publish(V1, ONE, checksum=said.format(digest=digest, upper=digest.upper()))

    assert (await held(packages)).sha256 == digest


@pytest.mark.anyio
async def test_a_spoiled_note_of_a_checksum_is_asked_for_anew(
    packages: Packages, server: FakeFetcher, store: Store
) -> None:
    server.publish(V1, ONE)
    await held(packages)
    for note in store.folder.glob("names/checksum/*"):
        note.write_text('{"other": 1}')

    assert (await held(packages)).version == "v1"

    assert not server.unchanged


@pytest.mark.anyio
async def test_the_older_package_is_the_one_of_the_same_file_that_was_used_last(
    packages: Packages, server: FakeFetcher
) -> None:
    v3 = release_named("v3")
    others = [
        release_named("v9", asset="other.pyz"),
        release_named("v9", repo="acme/other"),
        replace(release_named("v9"), host=Host.parse("mirror.example")),
    ]
    for release in (V1, V2, *others):
        server.publish(release, make_package(str(release.tag)))
    await held(packages, V2)
    await held(packages, V1)
    for other in others:
        await held(packages, other)
    asked = len(server.asked)

    for wanted in (v3, LATEST):
        async with packages.hold_older(wanted) as older:
            assert (older.release, run(older)) == (V1, "muster v1")
            assert not packages._store.remove(older.sha256)

    assert len(server.asked) == asked


@pytest.mark.anyio
async def test_an_older_package_is_unpacked_again_if_need_be(
    packages: Packages, server: FakeFetcher
) -> None:
    server.publish(V1, ONE)
    package = await held(packages)
    (package.code / "muster" / "cli" / "__main__.py").write_text("print('muster 0')")

    async def older() -> Package:
        async with packages.hold_older(V2) as found:
            return found

    found = await asyncio.gather(older(), older(), older())

    assert set(found) == {package}
    assert run(package) == "muster 1"


@pytest.mark.anyio
async def test_a_spoiled_older_package_is_passed_over_and_said_so(
    packages: Packages, server: FakeFetcher, store: Store
) -> None:
    server.publish(V1, ONE)
    await held(packages, V1)
    digest = server.publish(V2, TWO)
    await held(packages, V2)
    spoil(store.path(digest), TWO[:-1])

    with capture_logs() as logs:
        async with packages.hold_older(release_named("v3")) as older:
            assert older.release == V1

    assert [log["event"] for log in logs] == ["older_package_refused"]
    assert str(store.path(digest)) in logs[0]["why"]


@pytest.mark.anyio
async def test_without_an_older_package_there_is_none(
    packages: Packages, server: FakeFetcher, store: Store
) -> None:
    with pytest.raises(NotFound, match="No release of acme/muster is in the store"):
        async with packages.hold_older(V1):
            pass

    digest = server.publish(V1, ONE)
    await held(packages, V1)
    store.remove(digest)
    with pytest.raises(NotFound):
        async with packages.hold_older(V2):
            pass


@pytest.mark.anyio
async def test_code_says_itself_which_release_it_is(
    packages: Packages, server: FakeFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = server.publish(V1, ONE)
    package = await held(packages)

    monkeypatch.setattr(muster, "__file__", str(package.code / "muster" / "__init__.py"))

    assert running_release() == ReleaseId(name="acme/muster", version="v1", sha256=digest)


def test_code_that_is_no_release_is_what_is_installed() -> None:
    assert running_release() == installed_release()
    assert installed_release().name == "muster-fleet"
    assert not installed_release().sha256


@pytest.mark.anyio
async def test_the_longest_names_are_kept(server: FakeFetcher, packages: Packages) -> None:
    long = release_named("v" * 100, asset="a" * 200, repo=f"{'o' * 39}/{'r' * 100}")
    server.publish(long, ONE)

    assert (await held(packages, long)).release == long
