"""The release server as a process: over TCP a body can really break off."""

from __future__ import annotations

import hashlib
import signal
from typing import TYPE_CHECKING

import httpx
import pytest

from support.releases import ReleaseServer, Request
from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT = bytes(range(256)) * 256 * 256  # 16 MiB: no socket's buffers hold it
ASSET = "worker.tar.gz"


@pytest.fixture
def server() -> Iterator[ReleaseServer]:
    with ReleaseServer("--objects-host", "localhost", "--limit", "4/60") as server:
        yield server


@pytest.fixture
def client(server: ReleaseServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False, follow_redirects=True) as client:
        yield client


def read_into(received: bytearray, response: httpx.Response) -> None:
    """Add a body to what was received, as far as it comes."""
    for chunk in response.iter_raw():
        received += chunk


def object_request(server: ReleaseServer) -> Request:
    """Return the one request for bytes, when it is over."""
    (request,) = eventually_blocking(
        lambda: server.requests("/objects/"),
        "the request for the bytes is over",
        until=lambda requests: len(requests) == 1 and requests[0].ended,
    )
    return request


def test_a_download_that_breaks_off_is_resumed_from_the_other_host(
    server: ReleaseServer, client: httpx.Client
) -> None:
    # Given a release, and a connection that will be cut
    digest = server.publish("acme/worker", "v1.2.0", ASSET, CONTENT)
    server.arm("cut=5000000*1")
    latest = f"/acme/worker/releases/latest/download/{ASSET}"

    # When it is downloaded, and resumed after the cut
    received = bytearray()
    with client.stream("GET", latest) as first, pytest.raises(httpx.RemoteProtocolError):
        read_into(received, first)
    wanted = {"Range": f"bytes={len(received)}-", "If-Range": first.headers["etag"]}
    rest = client.get(latest, headers=wanted)

    # Then the parts make the whole, each from the host of the objects
    assert (first.url.host, rest.url.host) == ("localhost", "localhost")
    assert rest.status_code == 206
    assert hashlib.sha256(received + rest.content).hexdigest() == digest
    # And the log tells what was sent, though it was cut
    assert [request.sent for request in server.requests("/objects/")] == [
        5_000_000,
        len(CONTENT) - 5_000_000,
    ]
    # And the two downloads have used up the limit
    refused = client.get(latest)
    assert refused.status_code == 429
    assert server.log()[-1].retry_after == int(refused.headers["retry-after"])


def test_a_client_that_goes_away_is_told_with_what_it_was_sent(
    server: ReleaseServer, client: httpx.Client
) -> None:
    server.publish("acme/worker", "v1.2.0", ASSET, CONTENT)

    with client.stream("GET", f"/objects/acme/worker/v1.2.0/{ASSET}") as response:
        received = next(response.iter_raw())

    request = object_request(server)
    assert len(received) <= request.sent < len(CONTENT)


def test_a_client_that_gives_up_a_stalled_body_ends_its_request(
    server: ReleaseServer, client: httpx.Client
) -> None:
    server.publish("acme/worker", "v1.2.0", ASSET, b"x" * 1000)
    server.arm("stall")

    with client.stream("GET", f"/objects/acme/worker/v1.2.0/{ASSET}") as response:
        body = response.iter_raw(500)  # named: one that is forgotten closes the connection
        assert len(next(body)) == 500
        (stalled,) = server.requests("/objects/")
        assert (stalled.sent, stalled.ended) == (500, False)

    assert object_request(server).sent == 500


def test_it_serves_files_and_ends_at_once_on_sigterm(
    server: ReleaseServer, client: httpx.Client
) -> None:
    server.put("models/sd.safetensors", b"weights")
    assert client.get("/files/models/sd.safetensors").content == b"weights"
    server.clear_log()
    server.disarm()
    assert server.log() == []

    server.process.send_signal(signal.SIGTERM)

    assert server.process.wait(10) == -signal.SIGTERM
