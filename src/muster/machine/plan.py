"""The one plan of a machine: every count, name, port, folder and variable comes from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from muster.downloads.models import MODELS
from muster.errors import InvalidInput
from muster.fleet.identity import worker_id
from muster.machine import command
from muster.machine.code import installed
from muster.machine.settings import IN_PROCESS_CONNECTORS, MAX_GPUS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from muster.fleet.model import ReleaseId
    from muster.machine.code import Code
    from muster.machine.gpus import Gpu
    from muster.machine.settings import MachineSettings


@dataclass(frozen=True, slots=True)
class Service:
    """One inference service, with a port and folders of its own."""

    name: str
    gpu: int
    port: int
    argv: tuple[str, ...]
    directory: Path
    folders: Mapping[str, Path]
    env: Mapping[str, str]
    kind: str = "service"


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """One worker; ``dotenv`` is what its ``.env`` file says."""

    name: str
    gpu: int
    worker_id: str
    argv: tuple[str, ...]
    directory: Path
    env_file: Path
    dotenv: Mapping[str, str]
    env: Mapping[str, str]
    kind: str = "worker"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to run on a machine, and what whoever looks at it may expect.

    There is one worker for each GPU, and one service for each GPU unless the connector runs jobs
    in the worker itself: then ``services`` is empty.
    """

    machine_id: str
    incarnation: str
    gpus: int
    directory: Path
    marker: Mapping[str, str]
    release: ReleaseId
    services: tuple[Service, ...]
    workers: tuple[WorkerProcess, ...]

    @property
    def programs(self) -> tuple[Service | WorkerProcess, ...]:
        """Every program, services first."""
        return (*self.services, *self.workers)


def plan(
    settings: MachineSettings,
    gpus: Sequence[Gpu] = (),
    *,
    incarnation: str,
    code: Code | None = None,
) -> Plan:
    """Work out what runs on the machine, from its settings and the GPUs that were found.

    ``code`` is what the workers run, without it what is installed here.

    Raises ``InvalidInput`` if the number of GPUs is neither given nor found, or more than found.
    """
    count = _gpu_count(settings.num_gpus, found=len(gpus))
    directory = _directory(settings)
    code = code or installed()
    marker = {"MUSTER_MACHINE": settings.machine_id, "MUSTER_MACHINE_DIR": str(directory)}
    shared = {**marker, "MACHINE_INCARNATION": incarnation}
    has_services = (
        settings.service_command is not None and settings.connector not in IN_PROCESS_CONNECTORS
    )
    return Plan(
        machine_id=settings.machine_id,
        incarnation=incarnation,
        gpus=count,
        directory=directory,
        marker=marker,
        release=code.release,
        services=tuple(
            _service(settings, gpu, {**shared, **_bound_to(gpu)})
            for gpu in (range(count) if has_services else ())
        ),
        workers=tuple(
            _worker(settings, gpu, {**shared, **code.env, **_bound_to(gpu)}, gpus, code.command)
            for gpu in range(count)
        ),
    )


def _gpu_count(given: int | None, *, found: int) -> int:
    if given is None and not found:
        raise InvalidInput(
            "NUM_GPUS",
            "is not set, and the NVIDIA driver finds no GPU",
            f"Set NUM_GPUS to a number from 1 to {MAX_GPUS}, or install the driver.",
        )
    count = found if given is None else given
    if found and count > found:
        raise InvalidInput(
            "NUM_GPUS",
            f"is more than the {found} that the NVIDIA driver finds",
            f"Use a number from 1 to {min(found, MAX_GPUS)}.",
            value=count,
        )
    if count > MAX_GPUS:
        raise InvalidInput(
            "NUM_GPUS",
            f"is not set, and the {count} GPUs that the NVIDIA driver finds are too many",
            f"Set NUM_GPUS to a number from 1 to {MAX_GPUS}.",
        )
    return count


def _bound_to(gpu: int) -> dict[str, str]:
    # CUDA numbers the fastest GPU first unless it is told to count as the driver does.
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": str(gpu)}


def model_paths(settings: MachineSettings) -> Path:
    """Return the file that tells ComfyUI where a machine's models are."""
    return _directory(settings) / "model_paths.yaml"


def _directory(settings: MachineSettings) -> Path:
    return settings.data_dir / "machines" / settings.machine_id


def _port(settings: MachineSettings, gpu: int) -> int:
    return settings.base_port + gpu


def _service(settings: MachineSettings, gpu: int, env: Mapping[str, str]) -> Service:
    name = f"{settings.connector}-gpu{gpu}"
    # ComfyUI servers that share a folder hand out the same file names.
    home = _directory(settings) / "services" / name
    folders = {f"{folder}_dir": home / folder for folder in ("output", "temp", "input", "user")}
    port = _port(settings, gpu)
    template = settings.service_command or ()
    values = {"port": port, "gpu": gpu, "models_dir": settings.store_dir / MODELS, **folders}
    return Service(
        name=name,
        gpu=gpu,
        port=port,
        argv=command.fill(template, {**values, "model_paths": model_paths(settings)}),
        directory=home,
        folders=folders,
        env=env,
    )


def _worker(
    settings: MachineSettings,
    gpu: int,
    env: Mapping[str, str],
    gpus: Sequence[Gpu],
    command_line: tuple[str, ...],
) -> WorkerProcess:
    name = f"worker-gpu{gpu}"
    home = _directory(settings) / "workers" / name
    env_file = home / ".env"
    return WorkerProcess(
        name=name,
        gpu=gpu,
        worker_id=worker_id(settings.machine_id, gpu),
        argv=(*command_line, "worker", "--env-file", str(env_file)),
        directory=home,
        env_file=env_file,
        dotenv=_dotenv(settings, gpu, env["MACHINE_INCARNATION"], gpus),
        env=env,
    )


def _dotenv(
    settings: MachineSettings, gpu: int, incarnation: str, gpus: Sequence[Gpu]
) -> dict[str, str]:
    artifacts = settings.artifacts_url or (settings.data_dir / "artifacts").as_uri()
    passed_on = {
        "WORKER_MODELS": settings.worker_models,
        "WORKER_LABELS": settings.worker_labels,
        "WORKER_CONCURRENCY": settings.worker_concurrency,
        "WORKER_VRAM_MIB": str(gpus[gpu].memory_mib) if gpus else None,
        "INPUT_HOSTS": settings.input_hosts,
        "MUSTER_CA_FILE": str(settings.ca_file.resolve()) if settings.ca_file else None,
    }
    return {
        "MACHINE_ID": settings.machine_id,
        "MACHINE_INCARNATION": incarnation,
        "WORKER_INDEX": str(gpu),
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "MUSTER_QUEUE": settings.queue,
        "CONNECTOR": settings.connector,
        "SERVICE_URL": f"http://127.0.0.1:{_port(settings, gpu)}",
        "ARTIFACTS_URL": artifacts,
        "MUSTER_STORE_DIR": str(settings.store_dir),
        **{name: value for name, value in passed_on.items() if value is not None},
    }
