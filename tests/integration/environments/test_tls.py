"""Connections are encrypted, and whoever is not who it should be is refused."""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
from typing import TYPE_CHECKING
from unittest.mock import Mock

import httpx
import pytest
from redis.exceptions import RedisError

from muster.client import Client
from muster.client.errors import ServerUnavailable
from muster.errors import InvalidInput, RedisUnavailable
from muster.jobs.connection import check, connect
from muster.server.settings import ServerSettings
from muster.settings import RedisSettings
from support.certificates import HOST, Authority, bad_certificates
from support.queue_life import live
from support.server_process import serving
from support.tls_redis import tls_redis

if TYPE_CHECKING:
    from pathlib import Path

BAD = ["expired", "wrong host", "untrusted"]


@pytest.fixture
def password() -> str:
    return secrets.token_hex()


@pytest.mark.anyio
async def test_a_queue_lives_on_redis_over_tls(authority: Authority, password: str) -> None:
    with tls_redis(authority.certificate(), password) as port:
        settings = RedisSettings.load(
            redis_url=f"rediss://:{password}@{HOST}:{port}/0", ca_file=authority.file
        )
        async with connect(settings) as redis:
            await check(redis, settings)
            await live(redis, "fleet")


@pytest.mark.anyio
async def test_connections_share_what_they_trust(
    authority: Authority, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading the system's authorities for each holds up all that a process does."""
    with tls_redis(authority.certificate(), password) as port:
        settings = RedisSettings.load(
            redis_url=f"rediss://:{password}@{HOST}:{port}/0", ca_file=authority.file
        )
        make = Mock(wraps=ssl.create_default_context)
        monkeypatch.setattr(ssl, "create_default_context", make)
        async with connect(settings) as redis:
            await asyncio.gather(*(redis.ping() for _ in range(8)))

            assert len(await redis.client_list()) == 8
    assert make.call_count == 1


@pytest.mark.anyio
@pytest.mark.parametrize("kind", BAD)
async def test_redis_with_a_bad_certificate_is_refused(
    authority: Authority, tmp_path: Path, password: str, kind: str
) -> None:
    certificate, reason = bad_certificates(tmp_path, authority)[kind]
    with tls_redis(certificate, password) as port:
        settings = RedisSettings.load(
            redis_url=f"rediss://:{password}@{HOST}:{port}/0", ca_file=authority.file
        )
        async with connect(settings) as redis:
            with pytest.raises(RedisUnavailable, match=f"is not trusted.*{reason}") as refused:
                await check(redis, settings)

    assert password not in str(refused.value)


@pytest.mark.anyio
async def test_without_our_authority_a_good_certificate_is_refused(
    authority: Authority, password: str
) -> None:
    with tls_redis(authority.certificate(), password) as port:
        settings = RedisSettings.load(redis_url=f"rediss://:{password}@{HOST}:{port}/0")
        async with connect(settings) as redis:
            with pytest.raises(RedisUnavailable, match="is not trusted"):
                await check(redis, settings)


@pytest.mark.anyio
async def test_plaintext_gets_no_answer_from_redis(authority: Authority, password: str) -> None:
    with tls_redis(authority.certificate(), password) as port:
        settings = RedisSettings.load(redis_url=f"redis://:{password}@{HOST}:{port}/0")
        async with connect(settings) as redis:
            with pytest.raises(RedisError):
                await redis.ping()
            with pytest.raises(RedisUnavailable):
                await check(redis, settings)


@pytest.mark.anyio
async def test_tls_is_not_given_up_where_redis_has_none(
    authority: Authority, redis_url: str
) -> None:
    settings = RedisSettings.load(
        redis_url=redis_url.replace("redis://", "rediss://"), ca_file=authority.file
    )
    async with connect(settings) as redis:
        with pytest.raises(RedisUnavailable):
            await check(redis, settings)


def test_a_server_speaks_tls(
    authority: Authority, tmp_path: Path, redis_url: str, queue_name: str
) -> None:
    with serving(
        tmp_path, redis_url, queue_name, certificate=authority.certificate(), ca=authority
    ) as server:
        with server.client() as http:
            assert http.get("/v1/queue").status_code == 200
        assert server.url.startswith("https://")


def test_clients_know_the_server_by_its_authority(
    authority: Authority,
    tmp_path: Path,
    redis_url: str,
    queue_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(
        tmp_path, redis_url, queue_name, certificate=authority.certificate(), ca=authority
    ) as server:
        with (
            Client(server.url, server.token, patience_s=0.5) as client,
            pytest.raises(ServerUnavailable, match="certificate verify failed"),
        ):
            client.queue()

        monkeypatch.setenv("MUSTER_CA_FILE", str(authority.file))
        with Client(server.url, server.token) as client:
            assert client.queue().paused is False


@pytest.mark.parametrize("kind", BAD)
def test_a_server_with_a_bad_certificate_is_refused(
    authority: Authority,
    tmp_path: Path,
    redis_url: str,
    queue_name: str,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    certificate, reason = bad_certificates(tmp_path, authority)[kind]
    monkeypatch.setenv("MUSTER_CA_FILE", str(authority.file))
    with (
        serving(tmp_path, redis_url, queue_name, certificate=certificate, ca=None) as server,
        Client(server.url, server.token, patience_s=0.5) as client,
        pytest.raises(ServerUnavailable, match=reason),
    ):
        client.queue()


def test_a_server_with_tls_takes_no_plaintext(
    authority: Authority, tmp_path: Path, redis_url: str, queue_name: str
) -> None:
    with serving(
        tmp_path, redis_url, queue_name, certificate=authority.certificate(), ca=authority
    ) as server:
        with pytest.raises(httpx.TransportError):
            httpx.get(server.url.replace("https", "http") + "/healthz", trust_env=False)

        host, port = server.url.removeprefix("https://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as plain:
            plain.sendall(b"GET /v1/queue HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"HTTP/1.1 200" not in plain.recv(100)


def test_a_certificate_without_its_key_is_refused(authority: Authority, tmp_path: Path) -> None:
    cert = authority.certificate().cert
    with pytest.raises(InvalidInput, match="are not set together"):
        ServerSettings.load(tls_cert_file=cert)

    with pytest.raises(InvalidInput, match=r"MUSTER_TLS_CERT_FILE.*is refused"):
        ServerSettings.load(tls_cert_file=tmp_path / "none", tls_key_file=tmp_path / "none")


def test_a_key_of_another_certificate_is_refused(
    authority: Authority, tmp_path: Path, redis_url: str
) -> None:
    from muster.server.serving import _tls

    one, other = authority.certificate(), authority.certificate("other.example.org")
    settings = ServerSettings.load(tls_cert_file=one.cert, tls_key_file=other.key)

    with pytest.raises(InvalidInput, match=r"cannot be used \(.*KEY_VALUES_MISMATCH"):
        _tls(settings)


def test_an_authority_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    monkeypatch.setenv("MUSTER_CA_FILE", str(tmp_path / "ca.pem"))

    with pytest.raises(InvalidInput, match=r"MUSTER_CA_FILE: .* cannot be used"):
        Client("https://muster.example.org", "token")
