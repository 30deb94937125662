"""A Redis, its replica, and three sentinels that make the one of the other: as processes."""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from redis import Redis
from redis.exceptions import RedisError

from muster.embedded import find_server
from support.processes import running_process
from support.redis import free_port
from support.waiting import eventually_blocking

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from support.certificates import Authority, Certificate

SERVICE = "muster"
HOST = "127.0.0.1"
QUORUM, SENTINELS = 2, 3
DOWN_AFTER_MS, FAILOVER_MS = 500, 4000


@dataclass(frozen=True)
class Sentineled:
    """What runs. ``authority`` signed their certificates, if they speak TLS."""

    password: str
    primary: int
    replica: int
    sentinels: list[int]
    authority: Authority | None = None
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where Muster finds whichever is the primary."""
        hosts = ",".join(f"{HOST}:{port}" for port in self.sentinels)
        scheme = "rediss+sentinel" if self.authority else "redis+sentinel"
        return f"{scheme}://:{self.password}@{hosts}/{SERVICE}/0"

    def client(self, port: int) -> Redis:
        """Return a client of one of the servers."""
        return self._reach(port, self.password)

    def sentinel(self, port: int) -> Redis:
        """Return a client of one of the sentinels."""
        return self._reach(port, None)

    def _reach(self, port: int, password: str | None) -> Redis:
        return Redis(
            host=HOST,
            port=port,
            password=password,
            socket_timeout=5,
            ssl=self.authority is not None,
            ssl_ca_certs=str(self.authority.file) if self.authority else None,
        )

    def role(self, port: int) -> str:
        """Return what one of the servers says that it is: master or slave."""
        with self.client(port) as client:
            return str(client.info("replication")["role"])

    def kill_primary(self) -> None:
        """End the primary as a crash does."""
        os.kill(self.processes[self.primary].pid, signal.SIGKILL)

    def cut_off_replica(self) -> None:
        """Let the replica learn nothing more of the primary."""
        with self.client(self.replica) as replica, self.client(self.primary) as primary:
            replica.config_set("masterauth", "no longer")
            primary.execute_command("CLIENT KILL TYPE replica")
            assert not primary.info("replication")["connected_slaves"]

    def until_promoted(self) -> None:
        """Wait until the replica is the primary."""
        eventually_blocking(
            lambda: self.role(self.replica),
            "the replica is the primary",
            until="master".__eq__,
            timeout_s=40,
            ignoring=(RedisError,),
            every_s=0.05,
        )


@contextmanager
def sentineled(
    authority: Authority | None = None, certificate: Certificate | None = None
) -> Iterator[Sentineled]:
    """Run them until the block ends, with TLS everywhere if there is a certificate."""
    running = Sentineled(
        secrets.token_hex(),
        free_port(),
        free_port(),
        [free_port() for _ in range(SENTINELS)],
        authority,
    )
    with tempfile.TemporaryDirectory(prefix="muster-") as name, ExitStack() as stack:
        for port in (running.primary, running.replica, *running.sentinels):
            folder = Path(name) / str(port)
            folder.mkdir()
            config = folder / "redis.conf"
            config.touch(mode=0o600)
            config.write_text(_config(running, port, folder, certificate))
            kind = ["--sentinel"] if port in running.sentinels else []
            argv = [str(find_server()), str(config), *kind]
            running.processes[port] = stack.enter_context(running_process(argv, folder / "log"))
        try:
            _until_in_step(running)
        except AssertionError as error:
            logs = [path.read_text()[-1500:] for path in Path(name).glob("*/log")]
            raise AssertionError(f"{error}\n{'---'.join(logs)}") from None
        yield running


def _config(running: Sentineled, port: int, folder: Path, certificate: Certificate | None) -> str:
    lines = [f"bind {HOST}", f'dir "{folder}"', "set-proc-title no"]
    lines += [f"port {port}"] if certificate is None else _tls(port, certificate, running.authority)
    if port in running.sentinels:
        return "\n".join([*lines, *_watching(running)]) + "\n"
    lines += [
        f"requirepass {running.password}",
        f"masterauth {running.password}",
        'save ""',
        "maxmemory-policy noeviction",
        "repl-diskless-sync-delay 0",
    ]
    if port == running.replica:
        lines.append(f"replicaof {HOST} {running.primary}")
    return "\n".join(lines) + "\n"


def _tls(port: int, certificate: Certificate, authority: Authority | None) -> list[str]:
    assert authority is not None
    return [
        "port 0",
        f"tls-port {port}",
        f"tls-cert-file {certificate.cert}",
        f"tls-key-file {certificate.key}",
        f"tls-ca-cert-file {authority.file}",
        "tls-auth-clients no",
        "tls-replication yes",
    ]


def _watching(running: Sentineled) -> list[str]:
    return [
        f"sentinel monitor {SERVICE} {HOST} {running.primary} {QUORUM}",
        f"sentinel auth-pass {SERVICE} {running.password}",
        f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}",
        f"sentinel failover-timeout {SERVICE} {FAILOVER_MS}",
    ]


def _until_in_step(running: Sentineled) -> None:
    """Wait until the replica follows, and each sentinel knows of it and of the others."""

    def seen(port: int) -> tuple[int, int]:
        with running.sentinel(port) as client:
            state = client.sentinel_master(SERVICE)
        return int(state["num-slaves"]), int(state["num-other-sentinels"])

    def online() -> bool:
        with running.client(running.primary) as client:
            return "online" in str(client.info("replication").get("slave0"))

    eventually_blocking(online, "the replica is in step", timeout_s=20, ignoring=(RedisError,))
    for port in running.sentinels:
        eventually_blocking(
            lambda port=port: seen(port),  # type: ignore[misc]
            f"the sentinel at {port} knows all",
            until=(1, SENTINELS - 1).__eq__,
            timeout_s=30,
            ignoring=(RedisError,),
            every_s=0.1,
        )
