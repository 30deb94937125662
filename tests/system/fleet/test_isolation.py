"""From inside a machine there is nothing to be had but its own work."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from support.system.containers import awaited

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartMachine
    from support.system.machines import MachineContainer
    from support.system.stack import Stack

REACHES = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2).close()
except OSError as error:
    print(f"no: {error}")
else:
    print("yes")
"""
WRITES = """
import sys
for place in sys.argv[1:]:
    try:
        open(place + "/probe", "w").close()
    except OSError as error:
        print(place, error.strerror)
    else:
        print(place, "written")
"""
ASKS_REDIS = """
import json, os, sys
import redis
client = redis.Redis.from_url(
    os.environ["REDIS_URL"], ssl_ca_certs=os.environ["MUSTER_CA_FILE"]
)
for command in json.loads(sys.argv[1]):
    try:
        client.execute_command(*command)
    except redis.ResponseError as error:
        print(type(error).__name__, error)
    else:
        print("done")
"""


def test_runs_hardened(machine: MachineContainer) -> None:
    """As with --read-only --cap-drop ALL --security-opt no-new-privileges, and not as root."""
    status = dict(
        line.split(":\t", 1) for line in machine.ask("cat", "/proc/self/status").splitlines()
    )
    assert "0" not in status["Uid"].split() + status["Gid"].split()
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[capabilities], 16) == 0, capabilities
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"

    places = ["/", "/etc", "/opt/muster", "/usr/bin", "/var"]
    tried = machine.ask("python", "-c", WRITES, *places, "/data", "/tmp").splitlines()
    assert tried == [
        *(f"{place} Read-only file system" for place in places),
        "/data written",
        "/tmp written",
    ]


def test_is_healthy_and_tells_what_its_programs_say(machine: MachineContainer) -> None:
    awaited(
        lambda: machine.container.attrs["State"]["Health"]["Status"],
        "the container is healthy",
        of=machine.container,
        until="healthy".__eq__,
        hint="`docker inspect` shows what the health check printed.",
    )
    said = machine.container.logs().decode()
    assert "[comfyui-gpu0] Simulated ComfyUI of GPU 0" in said
    assert "machine_registered" in said


def test_reaches_neither_the_engine_nor_the_computers_files(
    machine: MachineContainer, coverage: Path | None
) -> None:
    machine.container.reload()
    host = machine.container.attrs["HostConfig"]
    mounts = machine.container.attrs["Mounts"]

    seen = {(mount["Type"], mount["Destination"], mount["RW"]) for mount in mounts}
    to_measure = {("bind", "/coverage", True), ("bind", "/etc/coverage.toml", False)}
    expected = {("volume", "/data", True), ("bind", "/tls/ca.pem", False)}
    assert seen == expected | (to_measure if coverage else set())
    assert (host["Privileged"], host["PidMode"], host["IpcMode"]) == (False, "", "private")
    assert not host["Devices"]
    sockets = machine.ask("python", "-c", "import glob; print(glob.glob('/**/docker.sock'))")
    assert sockets.strip() == "[]"
    assert machine.processes()[0].pid == 1  # it sees its own processes only


def test_reaches_no_other_machine(machine: MachineContainer, start_machine: StartMachine) -> None:
    # Given another machine in which something listens on all its addresses
    other = start_machine("other", gpus=1)
    other.container.exec_run(["python", "-m", "http.server", "9000"], detach=True)
    other.container.reload()
    networks = other.container.attrs["NetworkSettings"]["Networks"]
    address = networks[other.network]["IPAddress"]
    awaited(
        lambda: other.ask("python", "-c", REACHES, address, "9000").strip(),
        "the other reaches itself",
        of=other.container,
        until="yes".__eq__,
        hint="without this, that nobody else reaches it would mean nothing.",
    )

    # Then it cannot be reached, and neither can anything outside
    for target in (address, other.container.name, "192.0.2.1"):
        tried = machine.ask(
            *("python", "-c", REACHES, str(target), "9000"), RES_OPTIONS="timeout:1 attempts:1"
        )
        assert tried.startswith("no: ")
    assert machine.ask("python", "-c", REACHES, "redis", "6379").strip() == "yes"


FORBIDDEN = [
    ["FLUSHALL"],
    ["FLUSHDB"],
    ["CONFIG", "GET", "*"],
    ["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"],
    ["KEYS", "*"],
    ["SCAN", "0"],
    ["SHUTDOWN"],
    ["ACL", "LIST"],
    ["CLIENT", "KILL", "TYPE", "normal"],
    ["SCRIPT", "FLUSH"],
    ["REPLICAOF", "NO", "ONE"],
    ["MONITOR"],
    ["HGETALL", "muster:{other}:meta"],
    ["SET", "muster:{other}:meta", "x"],
    ["GET", "anything"],
    ["EVAL", "return redis.call('HGETALL', KEYS[1])", "1", "muster:{other}:meta"],
    ["EVAL", "return redis.call('FLUSHALL')", "0"],
    ["PUBLISH", "channel", "x"],
]


def test_its_redis_user_may_do_nothing_but_its_queues_work(machine: MachineContainer) -> None:
    answers = machine.ask("python", "-c", ASKS_REDIS, json.dumps(FORBIDDEN)).splitlines()
    refused = ("NoPermissionError ", "ResponseError The user executing the script can't run this")
    for command, answer in zip(FORBIDDEN, answers, strict=True):
        assert answer.startswith(refused), (command, answer)

    allowed = [["HGETALL", "muster:{default}:meta"], ["INFO", "memory"], ["TIME"]]
    answers = machine.ask("python", "-c", ASKS_REDIS, json.dumps(allowed)).splitlines()
    assert answers == ["done"] * 3


@pytest.mark.parametrize("role", ["machine", "server"])
def test_without_its_password_nobody_is_let_in(stack: Stack, role: str) -> None:
    import redis

    with stack.redis_client(role) as client:
        assert client.ping()
    for name, password in ((None, ""), (role, "wrong")):
        with (
            stack.redis_client(name, password) as stranger,
            pytest.raises((redis.AuthenticationError, redis.ResponseError)),
        ):
            stranger.execute_command("HGETALL", "muster:{default}:meta")


def test_plaintext_gets_no_answer(stack: Stack) -> None:
    import redis

    with (
        redis.Redis("127.0.0.1", stack.redis_port, socket_timeout=5) as plain,
        pytest.raises(redis.ConnectionError),
    ):
        plain.ping()
    with pytest.raises(httpx.TransportError):
        httpx.get(stack.url.replace("https:", "http:") + "/healthz", trust_env=False)
