from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from support.network import NetworkUsed, no_network


@pytest.mark.parametrize(
    ("family", "address"),
    [(socket.AF_INET, ("127.0.0.1", 9)), (socket.AF_INET6, ("::1", 9))],
    ids=["IPv4", "IPv6"],
)
@pytest.mark.parametrize("use", ["connect", "connect_ex", "bind"])
def test_an_internet_socket_fails_a_unit_test(
    family: socket.AddressFamily, address: tuple[str, int], use: str
) -> None:
    with (
        pytest.raises(NetworkUsed, match="unix socket"),
        no_network(),
        socket.socket(family) as client,
    ):
        getattr(client, use)(address)


def test_looking_up_a_name_fails_a_unit_test() -> None:
    with pytest.raises(NetworkUsed, match=r"example\.invalid"), no_network():
        socket.getaddrinfo("example.invalid", 80)


def test_a_swallowed_attempt_fails_a_unit_test_all_the_same() -> None:
    with (
        pytest.raises(NetworkUsed, match=r"127\.0\.0\.1"),
        no_network(),
        suppress(Exception),
        socket.socket() as client,
    ):
        client.connect(("127.0.0.1", 9))


def test_a_unix_socket_is_allowed() -> None:
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        address = str(Path(folder) / "s")
        server.bind(address)
        server.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(address)
