"""What one worker reads from its environment or its ``.env`` file."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (pydantic needs it at run time)
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from muster.fleet.identity import validate_machine_id, worker_id
from muster.jobs.model import Capabilities, Name
from muster.settings import RedisSettings


class WorkerSettings(RedisSettings):
    """One worker: whose it is, what it offers, and the service that it speaks to."""

    machine_id: str = Field(
        alias="MACHINE_ID", description="Set MACHINE_ID to the name of this worker's machine."
    )
    worker_index: int = Field(
        alias="WORKER_INDEX", ge=0, le=7, description="Use the index of the GPU, 0 to 7."
    )
    incarnation: str = Field(
        alias="MACHINE_INCARNATION",
        min_length=1,
        description="The machine sets it, new with each of its starts.",
    )
    connector: str = Field(
        alias="CONNECTOR",
        default="comfyui",
        description="Use the name of an installed connector (entry points `muster.connectors`).",
    )
    service_url: str = Field(
        alias="SERVICE_URL",
        default="http://127.0.0.1:8188",
        pattern=r"^https?://",
        description="Use the address of the service, for example http://127.0.0.1:8188.",
    )
    concurrency: int = Field(
        alias="WORKER_CONCURRENCY",
        default=1,
        ge=1,
        le=1000,
        description="Use how many jobs may run at once, 1 for a GPU.",
    )
    models: Annotated[frozenset[Name], NoDecode] = Field(
        alias="WORKER_MODELS",
        default=frozenset(),
        description="List the models that this worker has, with commas between.",
    )
    labels: Annotated[dict[Name, Name], NoDecode] = Field(
        alias="WORKER_LABELS",
        default_factory=dict,
        description="List name=value pairs with commas between, for example region=eu,tier=spot.",
    )
    vram_mib: int = Field(
        alias="WORKER_VRAM_MIB", default=0, ge=0, description="Use the GPU's memory in MiB."
    )
    store_dir: Path | None = Field(
        alias="MUSTER_STORE_DIR",
        default=None,
        description="Use the absolute path of the folder where the machine keeps models.",
    )
    artifacts_url: str = Field(
        alias="ARTIFACTS_URL",
        description="Use a folder (file:///var/lib/muster/artifacts) or object storage (s3://…).",
    )
    input_hosts: Annotated[frozenset[str], NoDecode] = Field(
        alias="INPUT_HOSTS",
        default=frozenset(),
        description="List the hosts that inputs may be fetched from, with commas between.",
    )

    @field_validator("machine_id")
    @classmethod
    def _valid_machine_id(cls, value: str) -> str:
        return validate_machine_id(value)

    @field_validator("models", "input_hosts", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        return (
            [part.strip() for part in value.split(",") if part.strip()]
            if isinstance(value, str)
            else value
        )

    @field_validator("labels", mode="before")
    @classmethod
    def _split_pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.strip().partition("=") for part in value.split(",") if part.strip()]
        for name, equals, _ in pairs:
            if not equals:
                raise ValueError(f"{name!r} has no '='")
        return {name: label for name, _, label in pairs}

    @property
    def worker_id(self) -> str:
        """The worker's id, from its machine and its index."""
        return worker_id(self.machine_id, self.worker_index)

    def capabilities(self, service: str, models: frozenset[str] = frozenset()) -> Capabilities:
        """Return what this worker offers to jobs: with ``models``, beside those it always has."""
        return Capabilities(
            service=service,
            models=self.models | models,
            vram_mib=self.vram_mib,
            labels=self.labels,
        )
