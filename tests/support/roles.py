"""A Redis with the users of ``envs/redis/users``, one for each role."""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from redis import Redis

from muster.embedded import find_server
from support.processes import running_process
from support.redis import free_port
from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from collections.abc import Iterator

USERS = Path(__file__).parents[2] / "envs" / "redis" / "users"
ROLES = ("operator", "server", "machine", "reader", "sentinel")


@dataclass(frozen=True)
class RolesRedis:
    """A running one. It listens on a free loopback port."""

    port: int
    passwords: dict[str, str]

    def url(self, role: str) -> str:
        """Return the address at which that role comes in."""
        return f"redis://{role}:{self.passwords[role]}@127.0.0.1:{self.port}/0"

    def client(self, role: str) -> Redis:
        """Return a client with that role's rights."""
        return Redis.from_url(self.url(role), socket_timeout=5)


def users_file(passwords: dict[str, str], queue: str = "default") -> str:
    """Return what the script prints."""
    variables = {f"REDIS_{role.upper()}_PASSWORD": word for role, word in passwords.items()}
    done = subprocess.run(
        ["sh", str(USERS)],
        env={"PATH": os.environ["PATH"], "MUSTER_QUEUE": queue, **variables},
        check=True,
        capture_output=True,
        text=True,
        timeout=10,
    )
    return done.stdout


@contextmanager
def roles_redis(queue: str = "default") -> Iterator[RolesRedis]:
    """Run one whose servers and machines use that queue."""
    server = RolesRedis(free_port(), {role: secrets.token_urlsafe() for role in ROLES})
    with tempfile.TemporaryDirectory(prefix="muster-") as name:
        users = Path(name) / "users.acl"
        users.touch(mode=0o600)
        users.write_text(users_file(server.passwords, queue))
        argv = [
            *(str(find_server()), "--bind", "127.0.0.1", "--port", str(server.port)),
            *("--aclfile", str(users), "--dir", name, "--save", ""),
            *("--maxmemory-policy", "noeviction", "--set-proc-title", "no"),
        ]
        with running_process(argv, Path(name) / "log"), server.client("operator") as client:
            eventually_blocking(
                client.ping, "Redis lets its operator in", ignoring=(Exception,), timeout_s=20
            )
            yield server
