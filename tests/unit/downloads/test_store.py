from __future__ import annotations

import asyncio
import os
import shutil
import time
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from muster.downloads.errors import ContentMismatch, DownloadFailed, NoSpace
from muster.downloads.partial import RESERVE_BYTES
from muster.downloads.store import Store
from support.downloads import (
    DATA,
    GOOD,
    URL,
    FakeFetcher,
    content_of,
    counted_reads,
    fetched,
    planted,
    sha256_of,
    spoil,
)


@pytest.fixture
def fetcher() -> FakeFetcher:
    return FakeFetcher({URL: DATA})


@pytest.mark.anyio
async def test_a_file_is_fetched_once_and_kept(store: Store, fetcher: FakeFetcher) -> None:
    told: list[tuple[int, int | None]] = []

    async with store.hold(URL, GOOD, fetcher, lambda *now: told.append(now)) as file:
        assert file.read_bytes() == DATA
        assert file == store.path(GOOD.sha256)
    assert await fetched(Store(store.folder), fetcher) == DATA

    assert fetcher.asked == [URL]
    assert told[-1] == (len(DATA), len(DATA))
    assert file.stat().st_mode & 0o777 == 0o444
    assert not list((store.folder / "partial").iterdir())


@pytest.mark.anyio
async def test_the_next_one_fetches_when_a_fetch_fails(store: Store, fetcher: FakeFetcher) -> None:
    with pytest.raises(DownloadFailed):
        await fetched(store, FakeFetcher())

    assert await fetched(store, fetcher) == DATA


@pytest.mark.failure(4)
@pytest.mark.anyio
async def test_wrong_bytes_from_the_server_never_become_an_object(store: Store) -> None:
    with pytest.raises(ContentMismatch) as caught:
        await fetched(store, FakeFetcher({URL: DATA[:-1] + b"!"}))

    assert (caught.value.file, caught.value.expected) == (URL, GOOD.sha256)
    assert not list(store.folder.glob("objects/*"))


@pytest.mark.anyio
async def test_a_file_is_read_again_only_once_it_was_touched(
    store: Store, fetcher: FakeFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fetched(store, fetcher)

    with counted_reads(monkeypatch) as reads:
        await fetched(store, fetcher)
        store.verify(GOOD)
        assert not reads

        os.utime(store.path(GOOD.sha256), (1, 1))
        await asyncio.gather(*(fetched(store, fetcher) for _ in range(4)))
        store.verify(GOOD)
        assert reads == [str(store.path(GOOD.sha256))]

        store.verify(GOOD, thoroughly=True)
        assert len(reads) == 2
    assert fetcher.asked == [URL]


@pytest.mark.anyio
async def test_bytes_changed_behind_an_old_date_are_seen(
    store: Store, fetcher: FakeFetcher
) -> None:
    await fetched(store, fetcher)
    file = store.path(GOOD.sha256)
    before = file.stat()

    spoil(file, b"!" + DATA[1:])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(ContentMismatch, match="SHA-256"):
        store.verify(GOOD)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("bad", "expected", "found"),
    [
        pytest.param(
            b"!" + DATA[1:], GOOD.sha256, sha256_of(b"!" + DATA[1:]), id="of another digest"
        ),
        pytest.param(DATA[:-7], f"{len(DATA)} bytes", f"{len(DATA) - 7} bytes", id="truncated"),
        pytest.param(b"", f"{len(DATA)} bytes", "0 bytes", id="empty"),
    ],
)
async def test_a_planted_file_is_refused_by_name_and_fetched_anew(
    store: Store, fetcher: FakeFetcher, bad: bytes, expected: str, found: str
) -> None:
    file = planted(store, bad)

    with capture_logs() as logs:
        assert await fetched(store, fetcher) == DATA

    refused = [log for log in logs if log["event"] == "stored_file_refused"]
    assert len(refused) == 1
    assert all(part in refused[0]["why"] for part in (str(file), expected, found))
    assert fetcher.asked == [URL]
    assert file.read_bytes() == DATA
    assert not list(store.folder.glob("trash/*"))


@pytest.mark.anyio
async def test_a_good_file_that_was_brought_by_hand_is_taken(
    store: Store, fetcher: FakeFetcher
) -> None:
    planted(store, DATA)

    assert await fetched(store, fetcher) == DATA

    assert not fetcher.asked


@pytest.mark.anyio
async def test_using_does_not_read_but_refuses_what_was_touched(
    store: Store, fetcher: FakeFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fetched(store, fetcher)
    file = store.path(GOOD.sha256)
    with counted_reads(monkeypatch) as reads, store.use(GOOD) as used:
        assert used == file
    assert not reads

    os.utime(file, (1, 1))

    with pytest.raises(ContentMismatch, match="as when it was verified") as caught, store.use(GOOD):
        pass
    assert caught.value.file == str(file)


@pytest.mark.anyio
async def test_room_on_the_disk_is_looked_for_first(
    store: Store, fetcher: FakeFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = RESERVE_BYTES + len(DATA) - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))

    with pytest.raises(NoSpace) as caught:
        await fetched(store, fetcher)

    assert not fetcher.asked
    said = str(caught.value)
    numbers = (store.folder / "partial", free, len(DATA), RESERVE_BYTES)
    assert all(str(part) in said for part in numbers)
    assert "muster store prune" in said
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free + 1))
    assert await fetched(store, fetcher) == DATA


@pytest.mark.anyio
async def test_entries_come_least_recently_used_first(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = [content_of(bytes([number]) * number) for number in range(1, 4)]
    for number, content in enumerate(contents, 1):
        await fetched(store, FakeFetcher({URL: bytes([number]) * number}), content)
    for content, used_at in zip(contents, (300, 100, 200), strict=True):
        os.utime(store.folder / "locks" / f"use-{content.sha256}", (used_at, used_at))

    with store.use(contents[1]):
        assert [entry.size for entry in store.entries()] == [3, 1, 2]
        assert [entry.in_use for entry in store.entries()] == [False, False, True]

    assert time.time() - store.entries()[-1].used_at < 60
