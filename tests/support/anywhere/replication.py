"""The two Redis servers of an environment with sentinels, and which one is the primary."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.anywhere.containers import execute
from support.system.containers import awaited

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker.models.containers import Container

    from support.anywhere.containers import ContainerBackend

NAMES = ("redis-1", "redis-2")
_INFO = (
    "redis-cli --tls --cacert /tls/ca.pem --user operator --no-auth-warning "
    '-a "$REDIS_OPERATOR_PASSWORD" info replication'
)


@dataclass(frozen=True)
class Pair:
    """A primary, and the replica that follows it."""

    primary: Container
    replica: Container

    def until_in_step(self) -> None:
        """Wait until the replica has all that the primary had when this was asked."""
        wanted = int(replication(self.primary)["master_repl_offset"])
        awaited(
            lambda: int(replication(self.replica)["slave_repl_offset"]),
            f"the replica is at {wanted}",
            of=self.replica,
            until=wanted.__le__,
            hint="it follows the primary at once, if it follows it at all.",
        )


def pair(backend: ContainerBackend, within_s: float) -> Pair:
    """Return both, when the one follows the other."""
    one, other = (backend.containers[name] for name in NAMES)

    def look() -> Pair | None:
        for primary, replica in ((one, other), (other, one)):
            if _leads(replication(primary)) and _follows(replication(replica)):
                return Pair(primary, replica)
        return None

    found = awaited(
        look,
        "one Redis follows the other",
        of=one,
        hint="sentinels make the one that came back a replica.",
        timeout_s=within_s,
    )
    assert found
    return found


@contextmanager
def silent(container: Container) -> Iterator[None]:
    """Let a container fall silent, as when its host dies.

    Paused, not killed: a container that is gone takes its name out of Docker's DNS, and looking for
    that name holds sentinels up. Hosts keep theirs.
    """
    container.pause()
    try:
        yield
    finally:
        container.unpause()


def replication(redis: Container) -> dict[str, str]:
    """Return what a Redis says of its replication."""
    said = execute(redis, "sh", "-c", _INFO).split()
    return dict(line.split(":", 1) for line in said if ":" in line)


def _leads(said: dict[str, str]) -> bool:
    return said.get("role") == "master" and said.get("connected_slaves") == "1"


def _follows(said: dict[str, str]) -> bool:
    return said.get("role") == "slave" and said.get("master_link_status") == "up"
