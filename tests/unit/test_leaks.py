"""The checks by which the suite sees what a test leaves behind."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from redis import Redis

from support import leaks
from support.leaks import Keys

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left here is left on purpose, and does not go."""
    monkeypatch.setattr(leaks, "PATIENCE_S", 0.1)


@pytest.fixture
def thread() -> Iterator[threading.Thread]:
    stop = threading.Event()
    waiting = threading.Thread(target=stop.wait, name="left-here")
    yield waiting
    stop.set()
    waiting.join()


def test_a_thread_is_seen(thread: threading.Thread) -> None:
    before = leaks.held()
    thread.start()

    assert leaks.left_since(before) == ["thread left-here"]


def test_a_socket_is_seen() -> None:
    before = leaks.held()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        left = leaks.left_since(before)

    assert len(left) == 2
    assert all(told.startswith("unix socket: ") for told in left)
    assert leaks.left_since(before) == []


def test_a_process_is_seen_and_ended() -> None:
    before = leaks.held()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        (told,) = {line.partition(" ")[0] for line in leaks.left_since(before)}

        assert told == "process"
        assert process.wait(timeout=10) == -9


def test_a_key_is_seen_and_removed(redis_url: str) -> None:
    with Keys(redis_url) as keys, Redis.from_url(redis_url) as client:
        client.set("forgotten", "1")

        assert keys.left() == ["key forgotten"]
        assert keys.left() == []


def test_where_no_redis_is_shared_there_are_no_keys() -> None:
    with Keys("") as keys:
        assert keys.left() == []


def test_nothing_is_left_of_what_ends() -> None:
    before = leaks.held()
    worker = threading.Thread(target=lambda: None)
    worker.start()
    worker.join()
    subprocess.run([sys.executable, "-c", ""], check=True)
    with socket.socket(socket.AF_UNIX):
        pass

    assert leaks.left_since(before) == []
