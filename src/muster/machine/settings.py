"""What one machine reads from its environment."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode

from muster.downloads.settings import DownloadSettings
from muster.errors import InvalidInput
from muster.fleet.identity import validate_machine_id
from muster.machine import command
from muster.settings import RedisSettings
from muster.worker.connectors.base import installed

MAX_GPUS = 8
MAX_PORT = 65_535

IN_PROCESS_CONNECTORS = frozenset({"simulation"})
"""Connectors that run jobs in the worker itself: a machine with one has no services."""


def _container_name(earlier: dict[str, Any]) -> str:
    name = earlier.get("container_name")
    if name is None:
        raise InvalidInput(
            "MACHINE_ID",
            "is not set, and neither is CONTAINER_NAME",
            "Set one of them to this machine's name: it must be the same after a restart.",
        )
    return validate_machine_id(name, "CONTAINER_NAME")


class MachineSettings(RedisSettings, DownloadSettings):
    """One machine: its name, how many GPUs, which service, and where its files go."""

    container_name: str | None = Field(
        alias="CONTAINER_NAME",
        default=None,
        description="Set it to this machine's name, or set MACHINE_ID.",
    )
    machine_id: str = Field(
        alias="MACHINE_ID",
        default_factory=_container_name,
        description="Set it to this machine's name; without it, CONTAINER_NAME is used.",
    )
    num_gpus: int | None = Field(
        alias="NUM_GPUS",
        default=None,
        ge=1,
        le=MAX_GPUS,
        description=f"Use a whole number from 1 to {MAX_GPUS}, "
        "or unset it to use every GPU that the NVIDIA driver finds.",
    )
    connector: str = Field(
        alias="CONNECTOR",
        default="comfyui",
        description="Use the name of an installed connector (entry points `muster.connectors`).",
    )
    service_command: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        alias="SERVICE_COMMAND",
        default=None,
        description="Give the command line that starts the service, for example "
        "`{python} /opt/ComfyUI/main.py --port {port} --output-directory {output_dir} "
        "--temp-directory {temp_dir} --input-directory {input_dir} --user-directory {user_dir}`; "
        f"placeholders are {', '.join(f'{{{name}}}' for name in sorted(command.PLACEHOLDERS))}.",
    )
    base_port: int = Field(
        alias="SERVICE_BASE_PORT",
        default=8188,
        ge=1024,
        le=MAX_PORT - MAX_GPUS + 1,
        description="Use the first service's port, 1024 to 65528; the others follow it.",
    )
    artifacts_url: str | None = Field(
        alias="ARTIFACTS_URL",
        default=None,
        description="Use a folder (file:///var/lib/muster/artifacts) or object storage (s3://…).",
    )
    worker_models: str | None = Field(
        alias="WORKER_MODELS",
        default=None,
        description="List the models that the workers have, with commas between.",
    )
    worker_labels: str | None = Field(
        alias="WORKER_LABELS",
        default=None,
        description="List name=value pairs with commas between, for example region=eu,tier=spot.",
    )
    worker_concurrency: str | None = Field(
        alias="WORKER_CONCURRENCY",
        default=None,
        description="Use how many jobs a worker may run at once, 1 for a GPU.",
    )
    input_hosts: str | None = Field(
        alias="INPUT_HOSTS",
        default=None,
        description="List the hosts that inputs may be fetched from, with commas between.",
    )
    log_programs: bool = Field(
        alias="LOG_PROGRAMS",
        default=False,
        description="Use 1 to print what services and workers print, each line with its "
        "program's name, as a container should; 0 to leave it in their log files alone.",
    )
    restart_attempts: int = Field(
        alias="RESTART_ATTEMPTS",
        default=5,
        ge=1,
        le=100,
        description="Use how often a program that does not start is tried, each time a second "
        "later than before, until it is left alone for RESTART_WAIT_S.",
    )
    restart_wait_s: float = Field(
        alias="RESTART_WAIT_S",
        default=10,
        gt=0,
        le=3600,
        description="Use the seconds before a program that could not be started is tried again; "
        "the wait doubles each time, up to 5 minutes.",
    )

    @field_validator("machine_id")
    @classmethod
    def _valid_machine_id(cls, value: str) -> str:
        return validate_machine_id(value)

    @field_validator("connector")
    @classmethod
    def _installed_connector(cls, value: str) -> str:
        if value not in installed():
            raise ValueError(f"no such connector is installed, only {', '.join(installed())}")
        return value

    @field_validator("service_command", mode="before")
    @classmethod
    def _parse_command(cls, value: object) -> object:
        return command.parse(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _comfyui_has_a_command(self) -> Self:
        if self.connector == "comfyui" and self.service_command is None:
            remedy = str(type(self).model_fields["service_command"].description)
            raise InvalidInput("SERVICE_COMMAND", "is not set", remedy)
        return self
