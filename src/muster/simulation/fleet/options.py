"""What a simulated fleet is to be like."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muster.errors import InvalidInput
from muster.fleet.identity import validate_machine_id, worker_id
from muster.jobs.connection import CONNECTIONS_AT_MOST

if TYPE_CHECKING:
    from redis.asyncio import Redis

CONNECTIONS_EACH = 3
"""What a worker needs at most: it waits for a wake-up, beats, and exchanges."""

CONNECTIONS_BESIDE = 100


@dataclass(frozen=True, slots=True)
class Options:
    """A fleet and its jobs.

    ``rate`` is how many jobs are submitted a second (None: all at once), ``duration_s`` how long
    one takes, ``failure_rate`` the share of attempts that fail. ``churn`` is how many machines a
    minute leave or die, by turns, and come back. With ``seconds`` the fleet stays for so long,
    else until all jobs are over. ``name`` is what the machines' ids begin with.
    """

    machines: int = 10
    workers: int = 4
    jobs: int = 100
    rate: float | None = None
    duration_s: float = 1.0
    failure_rate: float = 0.0
    churn: float = 0.0
    seconds: float | None = None
    name: str = "sim"

    def __post_init__(self) -> None:
        validate_machine_id(self.machine_ids[-1], "--name")
        if self.connections > CONNECTIONS_AT_MOST:
            most = (CONNECTIONS_AT_MOST - CONNECTIONS_BESIDE) // CONNECTIONS_EACH
            raise InvalidInput(
                "--machines",
                f"with {self.workers} workers each are too many for one process",
                f"Up to {most} workers fit; run several, each with its own --name.",
                value=self.machines,
            )

    @property
    def machine_ids(self) -> list[str]:
        """The ids of all its machines."""
        return [f"{self.name}-{number:03}" for number in range(1, self.machines + 1)]

    @property
    def worker_ids(self) -> list[str]:
        """The ids of all its workers."""
        return [worker_id(name, gpu) for name in self.machine_ids for gpu in range(self.workers)]

    @property
    def connections(self) -> int:
        """How many connections to Redis it may open."""
        return self.machines * self.workers * CONNECTIONS_EACH + CONNECTIONS_BESIDE


def make_room(options: Options) -> None:
    """Let this process open as many files as it needs. Raises ``InvalidInput`` when it may not."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = options.connections + CONNECTIONS_BESIDE
    if most != resource.RLIM_INFINITY and needed > most:
        raise InvalidInput(
            "--machines",
            f"needs {needed} open files, and this process may have {most}",
            "Raise the limit (ulimit -Hn), or simulate fewer machines.",
            value=options.machines,
        )
    if now != resource.RLIM_INFINITY and now < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, most))


async def check_room(redis: Redis, options: Options) -> None:
    """Raise ``InvalidInput`` when Redis does not take as many connections as are needed."""
    clients = await redis.info("clients")
    most = clients.get("maxclients")  # since Redis 7
    if most is not None and clients["connected_clients"] + options.connections > most:
        raise InvalidInput(
            "--machines",
            f"needs {options.connections} connections; Redis has {clients['connected_clients']} "
            f"and takes {most}",
            "Raise its maxclients, or simulate fewer machines.",
            value=options.machines,
        )
