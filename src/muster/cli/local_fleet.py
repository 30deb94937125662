"""What ``muster up`` runs: Redis, a server and one machine, with their files and secrets."""

from __future__ import annotations

import secrets
import shlex
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from muster.client.profile import Profile, write_private
from muster.client.target import ClientSettings
from muster.embedded import Durability, EmbeddedRedis
from muster.errors import InvalidInput, NotFound
from muster.fleet.identity import validate_machine_id
from muster.machine import envfile
from muster.machine.caretaker import Caretaker
from muster.machine.ports import free_row, is_free
from muster.machine.preparation import START_SECONDS, clean_environment
from muster.machine.programs import ProgramSpec
from muster.machine.settings import MAX_GPUS, MachineSettings
from muster.server.auth import Role, TokensFile, new_token
from muster.server.settings import ServerSettings
from muster.settings import RedisSettings
from muster.worker.settings import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

REDIS, SERVER, MACHINE = "redis", "server", "machine"
TOKEN_NAME = "up"  # noqa: S105  (not a token, but what it is called)

_SIMULATOR = (
    *("{python}", "-m", "muster.simulation.comfyui", "--port", "{port}", "--gpu", "{gpu}"),
    *("--output-directory", "{output_dir}", "--temp-directory", "{temp_dir}"),
    *("--input-directory", "{input_dir}"),
)


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for. ``data_dir`` is absolute."""

    gpus: int
    port: int
    data_dir: Path
    machine_id: str
    queue: str
    durability: Durability


@dataclass(frozen=True, slots=True)
class LocalFleet:
    """A fleet of one machine, prepared but not running."""

    options: Options
    profile: Profile
    redis: EmbeddedRedis
    redis_settings: RedisSettings
    caretaker: Caretaker
    token_file: Path

    @property
    def machine_logs(self) -> Path:
        """Where the logs of services and workers are."""
        return self.options.data_dir / "machines" / self.options.machine_id / "supervisor" / "logs"


def marker(data_dir: Path) -> dict[str, str]:
    """Return the variable by which all processes of a fleet are known."""
    return {"MUSTER_UP": str(data_dir)}


def prepare(options: Options) -> LocalFleet:
    """Check what was asked for and write every file that the programs read.

    Raises ``InvalidInput`` for what cannot work.
    """
    _check(options)
    data_dir = options.data_dir
    redis = EmbeddedRedis(
        data_dir / "redis",
        port=free_row(1),
        password=_kept(data_dir / "redis-password"),
        appendfsync=options.durability,
    )
    shared = {"REDIS_URL": redis.url, "MUSTER_QUEUE": options.queue}
    tokens_file = data_dir / "tokens.toml"
    token_file = data_dir / "token"
    profile = Profile(
        url=f"http://127.0.0.1:{options.port}", token=SecretStr(_token(tokens_file, token_file))
    )
    for name, variables in (
        (SERVER, _server_variables(options, tokens_file)),
        (MACHINE, _machine_variables(options)),
    ):
        write_private(_env_file(data_dir, name), envfile.render(shared | variables))
    MachineSettings.load(env_file=_env_file(data_dir, MACHINE))
    environment = {
        **clean_environment(ClientSettings, ServerSettings, MachineSettings, WorkerSettings),
        **marker(data_dir),
    }
    caretaker = Caretaker(
        data_dir / "supervisor",
        [
            [_muster(MACHINE, data_dir, environment, stop_wait_s=60)],
            [_muster(SERVER, data_dir, environment, stop_wait_s=20)],
            [ProgramSpec(REDIS, tuple(redis.prepare()), environment, data_dir, stop_wait_s=30)],
        ],
        environment=environment,
        marker=marker(data_dir),
        first_wait_s=2,
    )
    settings = RedisSettings.load(redis_url=redis.url, queue=options.queue)
    return LocalFleet(options, profile, redis, settings, caretaker, token_file)


def _check(options: Options) -> None:
    validate_machine_id(options.machine_id, "--machine-id")
    if not 1 <= options.gpus <= MAX_GPUS:
        raise InvalidInput(
            "--gpus",
            f"is not a number from 1 to {MAX_GPUS}",
            "A machine has one service and one worker for each GPU.",
            value=options.gpus,
        )
    if not is_free(options.port):
        raise InvalidInput(
            "--port",
            "is taken by another program",
            "End that program, or give another port.",
            value=options.port,
        )


def _server_variables(options: Options, tokens_file: Path) -> dict[str, str]:
    return {
        "MUSTER_HOST": "127.0.0.1",
        "MUSTER_PORT": str(options.port),
        "MUSTER_TOKENS_FILE": str(tokens_file),
    }


def _machine_variables(options: Options) -> dict[str, str]:
    return {
        "MACHINE_ID": options.machine_id,
        "NUM_GPUS": str(options.gpus),
        "MUSTER_DATA_DIR": str(options.data_dir),
        "CONNECTOR": "comfyui",
        "SERVICE_COMMAND": shlex.join(_SIMULATOR),
        "SERVICE_BASE_PORT": str(free_row(options.gpus)),
    }


def _muster(
    name: str, data_dir: Path, environment: Mapping[str, str], *, stop_wait_s: int
) -> ProgramSpec:
    argv = (sys.executable, "-m", "muster.cli", name, "--env-file", str(_env_file(data_dir, name)))
    return ProgramSpec(
        name, argv, environment, data_dir, stop_wait_s=stop_wait_s, start_seconds=START_SECONDS
    )


def _env_file(data_dir: Path, name: str) -> Path:
    return data_dir / f"{name}.env"


def _kept(file: Path) -> str:
    """Return the secret that the file keeps, which is made once."""
    if not file.exists():
        write_private(file, secrets.token_urlsafe(32))
    return file.read_text(encoding="ascii")


def _token(tokens_file: Path, token_file: Path) -> str:
    """Return the token that the file keeps and the server knows; made anew if it does not."""
    tokens = TokensFile(tokens_file)
    if token_file.exists() and tokens_file.exists():
        token = token_file.read_text(encoding="ascii")
        if tokens.find(token):
            return token
    if tokens_file.exists():
        with suppress(NotFound):
            tokens.remove(TOKEN_NAME)
    token, entry = new_token(TOKEN_NAME, Role.OPERATE)
    tokens.add(entry)
    write_private(token_file, token)
    return token
