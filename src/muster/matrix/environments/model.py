"""What an environment is, as its file in ``envs/`` says."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from muster.errors import InvalidInput
from muster.fleet.nameplate import EnvironmentName
from muster.machine.settings import MAX_GPUS
from muster.matrix.results.rules import Rules


class Act(StrEnum):
    """What a test does to the system. Each includes those before it."""

    READ = "read"
    WRITE = "write"
    DESTRUCTIVE = "destructive"

    def includes(self, other: Act) -> bool:
        """Whether whoever may do this may do the other."""
        order = list(Act)
        return order.index(self) >= order.index(other)


class Source(StrEnum):
    """Where a part of the system comes from."""

    EMBEDDED = "embedded"
    PROCESSES = "processes"
    CONTAINERS = "containers"
    EXTERNAL = "external"


class Capability(StrEnum):
    """What an environment declares to have. Declared and missing is a failure."""

    DOCKER = "docker"
    GPUS = "gpus"
    TLS = "tls"
    SENTINEL = "sentinel"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Redis(_Part):
    """The Redis of an environment."""

    source: Source = Field(alias="from")


class Server(_Part):
    """Its servers; an external one is at ``$MUSTER_URL``, and takes ``$MUSTER_TOKEN``."""

    source: Source = Field(alias="from")


class Machines(_Part):
    """Its machines. External ones are those that are found there."""

    source: Source = Field(alias="from")
    count: PositiveInt | None = None
    gpus: Annotated[int, Field(ge=1, le=MAX_GPUS)] | None = None


class Limits(_Part):
    """How much a run may take of an environment."""

    run_s: PositiveFloat = 3600
    """Seconds after which no further test begins."""
    calls_per_s: PositiveFloat = 1000
    """How many requests to its server a test sends in a second."""


class Canary(_Part):
    """The synthetic job by which production is seen to work."""

    service: str
    payload: Path
    every_s: PositiveInt
    """At most one canary is made in this time, however many runs there are."""
    completes_s: PositiveFloat
    """How long one may take."""
    keep_s: PositiveInt
    """How long the system keeps one after its end."""

    @model_validator(mode="after")
    def _kept_as_long_as_it_counts(self) -> Self:
        if self.keep_s < self.every_s:
            raise ValueError("keep_s is less than every_s, for which a canary is to count")
        return self


class Environment(_Part):
    """Where tests run: its parts, what may be done there, and what must be there."""

    name: EnvironmentName
    about: Annotated[str, Field(min_length=1)]
    acts: list[Act]
    capabilities: list[Capability] = Field(default_factory=list)
    redis: Redis
    server: Server
    machines: Machines
    limits: Limits = Field(default_factory=Limits)
    canary: Canary
    targets: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], PositiveFloat] = Field(
        default_factory=dict
    )
    alerts: Rules = Field(default_factory=Rules)
    """Those that are set here hold for runs here, in place of the project's."""

    @model_validator(mode="after")
    def _acts_include_lesser_ones(self) -> Self:
        wanted = list(Act)[: len(self.acts)]
        if not self.acts or self.acts != wanted:
            raise ValueError("acts must be read; read, write; or read, write, destructive")
        return self

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        redis, server, machines = self.redis.source, self.server.source, self.machines.source
        wanted = {
            Source.PROCESSES: (Source.EMBEDDED, Source.PROCESSES),
            Source.CONTAINERS: (Source.CONTAINERS, Source.CONTAINERS),
            Source.EXTERNAL: (Source.EXTERNAL, Source.EXTERNAL),
        }
        if (redis, machines) != wanted.get(server):
            raise ValueError(
                f"redis from {redis}, server from {server} and machines from {machines} do not go "
                "together: it is embedded, processes, processes; or all containers; or all external"
            )
        return self

    @model_validator(mode="after")
    def _destroys_only_its_own(self) -> Self:
        if self.server.source is Source.EXTERNAL:
            if self.allows(Act.DESTRUCTIVE):
                raise ValueError("an external environment is never ours to break: not destructive")
        elif self.machines.count is None or self.machines.gpus is None:
            raise ValueError("machines needs count and gpus, since the tests start them")
        return self

    @property
    def source(self) -> Source:
        """Where its server, and so the fleet that tests speak to, comes from."""
        return self.server.source

    def allows(self, act: Act) -> bool:
        """Whether tests may do that here."""
        return act in self.acts

    @property
    def is_ours_to_break(self) -> bool:
        """Whether load, faults, generated data and reruns have their place here."""
        return self.allows(Act.DESTRUCTIVE)

    def target(self, name: str) -> float:
        """Return a number that tests hold the system to. Raises ``InvalidInput`` if not set."""
        if name not in self.targets:
            raise InvalidInput(
                f"targets.{name}",
                f"is not set for the environment {self.name}",
                f"Set it in envs/{self.name}.toml.",
            )
        return self.targets[name]
