from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from muster.downloads.store import Store
from muster.errors import NotFound
from support.downloads import (
    DATA,
    GOOD,
    URL,
    FakeFetcher,
    fetch_lock,
    fetched,
    nothing_told,
    opened_by,
    planted,
    until_fetching,
)
from support.waiting import eventually, eventually_blocking

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


USER = """
import sys
sys.path[:] = {path!r}
from pathlib import Path
from muster.downloads.store import Store
from support.downloads import content_of
with Store(Path({folder!r})).use(content_of({data!r})):
    print("up", flush=True)
    sys.stdin.read()
"""
FETCHER = """
import asyncio, sys
sys.path[:] = {path!r}
from pathlib import Path
from muster.downloads.store import Store
from support.downloads import URL, FakeFetcher, content_of, nothing_told
from support.waiting import eventually
folder = Path({folder!r})

class Counting(FakeFetcher):
    async def file(self, *arguments):
        with (folder.parent / "asked").open("a") as log:
            log.write("asked\\n")
        await eventually((folder.parent / "go").exists, "the others wait", timeout_s=60)
        await super().file(*arguments)

async def main():
    fetcher = Counting({{URL: {data!r}}})
    async with Store(folder).hold(URL, content_of({data!r}), fetcher, nothing_told) as file:
        print(len(file.read_bytes()), flush=True)

asyncio.run(main())
"""


@pytest.fixture
def fetcher() -> FakeFetcher:
    return FakeFetcher({URL: DATA})


@pytest.fixture
def user(store: Store) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the file, which must be in the store, until it is ended."""
    code = USER.format(path=sys.path, folder=str(store.folder), data=DATA)
    with started(code) as process:
        assert process.stdout
        assert process.stdout.readline() == "up\n"
        yield process
        process.kill()


def started(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.failure(4)
@pytest.mark.anyio
async def test_tasks_that_ask_at_once_share_one_fetch(store: Store, fetcher: FakeFetcher) -> None:
    fetcher.gate = threading.Event()
    asking = [asyncio.create_task(fetched(store, fetcher)) for _ in range(8)]
    await eventually(lambda: opened_by(os.getpid(), fetch_lock(store)) == 8, "all eight wait")

    fetcher.gate.set()

    assert await asyncio.gather(*asking) == [DATA] * 8
    assert fetcher.asked == [URL]


def test_threads_with_loops_of_their_own_share_one_fetch(
    store: Store, fetcher: FakeFetcher
) -> None:
    fetcher.gate = threading.Event()
    got: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: got.append(asyncio.run(fetched(store, fetcher))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    eventually_blocking(
        lambda: opened_by(os.getpid(), fetch_lock(store)) == 8, "all eight wait", timeout_s=30
    )

    fetcher.gate.set()

    for thread in threads:
        thread.join()
    assert got == [DATA] * 8
    assert fetcher.asked == [URL]


@pytest.mark.failure(4)
def test_processes_share_one_fetch(store: Store, tmp_path: Path) -> None:
    code = FETCHER.format(path=sys.path, folder=str(store.folder), data=DATA)
    with ExitStack() as stack:
        processes = [stack.enter_context(started(code)) for _ in range(8)]
        for process in processes:
            stack.callback(process.kill)
        eventually_blocking(
            lambda: sum(opened_by(process.pid, fetch_lock(store)) for process in processes),
            "all eight wait for one",
            until=lambda opened: opened == 8,
            timeout_s=60,
        )

        (tmp_path / "go").touch()

        assert [process.communicate()[0] for process in processes] == [f"{len(DATA)}\n"] * 8
    assert (tmp_path / "asked").read_text() == "asked\n"


@pytest.mark.anyio
async def test_nothing_is_an_object_until_it_is_whole_and_verified(
    store: Store, fetcher: FakeFetcher
) -> None:
    fetcher.gate = threading.Event()
    asking = asyncio.create_task(fetched(store, fetcher))
    await until_fetching(fetcher)

    assert not store.entries()
    assert not list(store.folder.glob("objects/*"))
    with pytest.raises(NotFound), store.use(GOOD):
        pass

    fetcher.gate.set()
    await asking
    assert [entry.sha256 for entry in store.entries()] == [GOOD.sha256]


@pytest.mark.anyio
async def test_who_finds_a_bad_file_late_does_not_remove_its_replacement(
    store: Store, fetcher: FakeFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(store, b"bad")
    slow = threading.Event()
    started_reading = threading.Event()
    real = hashlib.file_digest

    def read(*arguments: object) -> object:
        digest = real(*arguments)
        if not started_reading.is_set():  # the first reader is slow to hear what it read
            started_reading.set()
            slow.wait(30)
        return digest

    monkeypatch.setattr(hashlib, "file_digest", read)
    first = asyncio.create_task(fetched(store, fetcher))
    await eventually(started_reading.is_set, "the first reads the bad file")
    second = asyncio.create_task(fetched(store, fetcher))
    await eventually(lambda: opened_by(os.getpid(), fetch_lock(store)) == 2, "the second waits")
    slow.set()

    assert await asyncio.gather(first, second) == [DATA, DATA]
    assert fetcher.asked == [URL]


@pytest.mark.anyio
async def test_removing_spares_what_is_in_use(store: Store, fetcher: FakeFetcher) -> None:
    async with store.hold(URL, GOOD, fetcher, nothing_told) as file:
        assert not store.remove(GOOD.sha256)
        with store.use(GOOD):
            assert store.entries()[0].in_use
        assert not store.remove(GOOD.sha256)
        assert file.exists()

    assert not store.entries()[0].in_use
    assert store.remove(GOOD.sha256)
    assert not list(store.folder.glob("objects/*"))
    assert not list(store.folder.glob("trash/*"))
    assert await fetched(store, fetcher) == DATA
    assert fetcher.asked == [URL, URL]


@pytest.mark.anyio
async def test_a_process_that_is_killed_uses_no_more(
    store: Store, fetcher: FakeFetcher, request: pytest.FixtureRequest
) -> None:
    await fetched(store, fetcher)
    user: subprocess.Popen[str] = request.getfixturevalue("user")
    assert not store.remove(GOOD.sha256)
    assert store.entries()[0].in_use

    user.kill()
    user.wait()

    assert store.remove(GOOD.sha256)
    assert not store.path(GOOD.sha256).exists()


def test_what_a_killed_process_threw_away_is_deleted_by_the_next(store: Store) -> None:
    store.throw_away(planted(store, b"x"))
    folder = store.folder / "unpacked" / "v1"
    (folder / "deep").mkdir(parents=True)
    store.throw_away(folder)
    assert len(list(store.folder.glob("trash/*"))) == 2

    Store(store.folder).empty_trash()

    assert not list(store.folder.glob("trash/*"))


def test_many_may_throw_away_and_delete_at_once(store: Store) -> None:
    troubles: list[OSError] = []

    def throw(which: int) -> None:
        try:
            for number in range(100):
                store.throw_away(planted(store, b"x", name=f"{which}-{number}"))
                store.empty_trash()
        except OSError as error:
            troubles.append(error)

    threads = [threading.Thread(target=throw, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not troubles


@pytest.mark.anyio
async def test_downloads_are_swept_when_old_and_nobodys(store: Store, fetcher: FakeFetcher) -> None:
    partial = store.folder / "partial"
    partial.mkdir(parents=True)
    for name, age in (("a" * 64, 9999), ("b" * 64, 0)):
        for suffix in (".part", ".json"):
            (partial / f"{name}{suffix}").write_text("{}")
        os.utime(partial / f"{name}.part", (time.time() - age,) * 2)
    fetcher.gate = threading.Event()
    asking = asyncio.create_task(fetched(store, fetcher))
    await until_fetching(fetcher)
    os.utime(partial / f"{GOOD.sha256}.part", (1, 1))

    assert store.sweep_partials(5000) == 1

    names = {file.stem for file in partial.iterdir()}
    assert names == {"b" * 64, GOOD.sha256}
    fetcher.gate.set()
    assert await asking == DATA
