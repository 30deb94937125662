"""A machine in a container, looked at from outside and from within."""

from __future__ import annotations

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
class MachineContainer:
    """A machine that a test started."""

    machine_id: str
    gpus: int
    container: Container
    network: str
    volume: str
    stop_grace_s: int
    engine: DockerClient
    redis: Container
    open_client: Callable[[], Client]

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
            until=lambda now: now.state is state and now.incarnation != after,
            timeout_s=timeout_s,
            ignoring=(MusterError,),
            hint=hint,
        )

    def until_idle(self, *, after: str | None = None, timeout_s: float = 90) -> Machine:
        """Wait until it is ready, and all its workers wait for jobs."""
        ready = self.until(MachineState.READY, after=after, timeout_s=timeout_s)
        awaited(
            lambda: [worker.state for worker in self.workers()],
            f"its {self.gpus} workers are idle",
            of=self.container,
            until=[WorkerState.IDLE].__mul__(self.gpus).__eq__,
            timeout_s=timeout_s,
            hint="a worker that is `starting` waits for its service; `busy` has a job.",
        )
        return ready

    def processes(self, word: str = "") -> list[Process]:
        """Return the processes whose command line holds a word, as the container itself sees them.

        Processes, not what the machine says of itself.
        """
        listed = self.run(
            "python",
            "-c",
            "import psutil\n"
            "for p in psutil.process_iter(['pid', 'cmdline', 'status']):\n"
            "    if p.info['status'] != 'zombie':\n"
            "        print(p.info['pid'], *(p.info['cmdline'] or ['?']))",
        )
        found = [line.partition(" ") for line in listed.splitlines()]
        return [Process(int(pid), command) for pid, _, command in found if word in command]

    def count_from_outside(self, word: str) -> int:
        """Count such processes as the computer's own process list shows them."""
        rows = self.container.top(ps_args="-eo pid,args")["Processes"]
        return sum(word in row[-1] for row in rows)

    def run(self, *argv: str) -> str:
        """Run a program inside and return what it printed; it must succeed."""
        code, output = self.container.exec_run(list(argv))
        said = str(output.decode(errors="replace"))
        assert code == 0, f"{argv[0]} in {self.container.name} failed with {code}: {said}"
        return said

    def kill_process(self, program: str) -> None:
        """End one of the machine's programs by SIGKILL, from within."""
        pids = {each.name: each.pid for each in self.look().programs}
        self.run("python", "-c", f"import os; os.kill({pids[program]}, 9)")

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
            self.container.remove(force=True)
        with suppress(NotThere):
            network = self.engine.networks.get(self.network)
            with suppress(NotThere):
                network.disconnect(self.redis, force=True)
            network.remove()
