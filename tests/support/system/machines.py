"""A machine in a container, looked at from outside and from within."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from docker.errors import NotFound as NotThere

from muster.errors import MusterError
from muster.fleet.model import MachineState, WorkerState
from support.system.containers import awaited, last_words, stop_quietly

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker import DockerClient
    from docker.models.containers import Container

    from muster.client import Client
    from muster.fleet.model import Machine, Worker

SERVICE = "muster.simulation.comfyui"
WORKER = "muster.cli worker"
REST = "the agent, its supervisor, the init"
_LIST = """
import json, psutil
running = psutil.process_iter(["pid", "cmdline", "status"])
print(json.dumps([p.info for p in running if p.info["status"] != psutil.STATUS_ZOMBIE]))
"""
_MEASURE = """
import json, psutil
print(json.dumps([
    [" ".join(p.cmdline()), p.memory_full_info().uss, sum(p.cpu_times()[:2])]
    for p in psutil.process_iter()
]))
"""
READY_HINT = (
    "the machine's reasons above say what differs from its plan; each program's last lines follow "
    "its name in the log."
)


@dataclass(frozen=True)
class Process:
    """A process of the container: its number within, and its command line."""

    pid: int
    command: str


@dataclass(frozen=True)
class Cost:
    """What a process has for itself (its own memory, in MiB) and has used (CPU seconds)."""

    memory_mib: float
    cpu_s: float


@dataclass(frozen=True, eq=False)
class MachineContainer:
    """A machine that a test started."""

    machine_id: str
    label: str
    gpus: int
    container: Container
    network: str
    volume: str
    stop_grace_s: int
    engine: DockerClient
    neighbours: list[Container]
    open_client: Callable[[], Client]
    measured: bool
    """Whether its programs write down what they ran, when they end by themselves."""

    @property
    def hostname(self) -> str:
        """The name by which the container knows itself, unlike any before it on the same data."""
        return str(self.container.id)[:12]

    def look(self) -> Machine:
        """Return the machine as the server tells of it."""
        with self.open_client() as client:
            return client.machine(self.machine_id)

    def workers(self) -> list[Worker]:
        """Return the workers that say that they are this machine's, offline ones left out."""
        with self.open_client() as client:
            page = client.workers(machine_id=self.machine_id, limit=100)
        return [worker for worker in page.workers if worker.state is not WorkerState.OFFLINE]

    def until(
        self,
        state: MachineState,
        *,
        after: str | None = None,
        timeout_s: float = 90,
        hint: str = READY_HINT,
    ) -> Machine:
        """Wait until the machine is in that state; ``after`` is an incarnation that is over."""
        return awaited(
            self.look,
            f"machine {self.machine_id} with {self.gpus} GPUs is {state}",
            of=self.container,
            until=lambda now: (
                now.state is state and now.host == self.hostname and now.incarnation != after
            ),
            timeout_s=timeout_s,
            ignoring=(MusterError,),
            hint=hint,
        )

    def until_idle(self, *, after: str | None = None, timeout_s: float = 90) -> Machine:
        """Wait until it is ready, and all its workers wait for jobs."""
        ready = self.until(MachineState.READY, after=after, timeout_s=timeout_s)
        self.until_workers_idle(timeout_s=timeout_s)
        return ready

    def until_workers_idle(self, *, timeout_s: float = 90) -> None:
        """Wait until all its workers wait for jobs, whatever the machine says meanwhile."""
        awaited(
            lambda: [worker.state for worker in self.workers()],
            f"its {self.gpus} workers are idle",
            of=self.container,
            until=[WorkerState.IDLE].__mul__(self.gpus).__eq__,
            timeout_s=timeout_s,
            hint="a worker that is `starting` waits for its service; `busy` has a job.",
        )

    def processes(self, word: str = "") -> list[Process]:
        """Return the processes whose command line holds a word, as the container itself sees them.

        Processes, not what the machine says of itself.
        """
        listed = json.loads(self.ask("python", "-c", _LIST))
        found = [Process(each["pid"], " ".join(each["cmdline"])) for each in listed]
        return [process for process in found if word in process.command]

    def count_from_outside(self, word: str) -> int:
        """Count such processes as the computer's own process list shows them."""
        rows = self.container.top(ps_args="-eo pid,args")["Processes"]
        return sum(word in row[-1] for row in rows)

    def costs(self) -> dict[str, list[Cost]]:
        """Return what each worker, each service and the rest have cost so far."""
        costs: dict[str, list[Cost]] = {WORKER: [], SERVICE: [], REST: []}
        for command, memory, cpu_s in json.loads(self.ask("python", "-c", _MEASURE)):
            if "psutil" not in command:
                kind = next((word for word in (WORKER, SERVICE) if word in command), REST)
                costs[kind].append(Cost(memory / 2**20, cpu_s))
        return costs

    def run(self, *argv: str, **environment: str) -> str:
        """Run a program inside and return what it printed; it must succeed."""
        code, output = self.container.exec_run(list(argv), environment=environment)
        assert isinstance(output, bytes)
        said = output.decode(errors="replace")
        assert code == 0, f"{argv[0]} in {self.container.name} failed with {code}: {said}"
        return said

    def ask(self, *argv: str, **environment: str) -> str:
        """Run a program that looks at something and tells it, until what it tells is heard.

        The engine may lose what a program prints that ends at once.
        """
        return awaited(
            lambda: self.run(*argv, **environment),
            f"{argv[0]} tells something",
            of=self.container,
            hint="it succeeded each time, but printed nothing.",
        )

    def pids(self) -> dict[str, int | None]:
        """Return the process of each of the machine's programs, as it tells of them."""
        return {program.name: program.pid for program in self.look().programs}

    def kill_process(self, program: str) -> None:
        """End one of the machine's programs by SIGKILL, from within."""
        self.run("python", "-c", f"import os; os.kill({self.pids()[program]}, 9)")

    def environment(self, process: Process) -> dict[str, str]:
        """Return a process's environment variables."""
        read = self.ask("cat", f"/proc/{process.pid}/environ").rstrip("\0")
        return dict(variable.split("=", 1) for variable in read.split("\0"))

    def disconnect(self) -> None:
        """Take the machine off its network."""
        self.engine.networks.get(self.network).disconnect(self.container)

    def reconnect(self) -> None:
        """Put it back."""
        self.engine.networks.get(self.network).connect(self.container, aliases=["machine-1"])

    def stop(self) -> int:
        """Stop it as ``docker stop`` does, and return its exit code."""
        stop_quietly(self.container, self.stop_grace_s)
        return int(self.container.wait()["StatusCode"])

    def story(self) -> str:
        """Tell how it is and what it said last."""
        return last_words(self.container)

    def remove(self) -> None:
        """Remove the container at once and its network; its volume stays for the next one."""
        with suppress(NotThere):
            if self.measured:
                stop_quietly(self.container, self.stop_grace_s)
            self.container.remove(force=True)
        with suppress(NotThere):
            network = self.engine.networks.get(self.network)
            for neighbour in self.neighbours:
                with suppress(NotThere):
                    network.disconnect(neighbour, force=True)
            network.remove()
