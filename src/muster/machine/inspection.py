"""Compares what runs on a machine with its plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.fleet.model import WorkerState
from muster.machine.supervisor import RUNNING, STARTING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from muster.fleet.model import Worker
    from muster.machine.plan import Plan
    from muster.machine.supervisor import Status

_NOT_AT_WORK = frozenset({WorkerState.STARTING, WorkerState.OFFLINE})


def differences(
    plan: Plan,
    programs: Mapping[str, Status],
    earlier: Mapping[str, Status],
    workers: Iterable[Worker],
    last_line: Callable[[str], str],
) -> list[str]:
    """Return, in words, how what runs differs from the plan; nothing if it is as planned.

    ``programs`` is how supervisord sees them now, ``earlier`` how it saw them at the last look:
    a program runs once it has the same process both times. ``workers`` are those that are
    registered under the machine's id, ``last_line`` gives the last line of a program's log.
    """
    stumbling = dict(_program_differences(plan, programs, earlier, last_line))
    return [*stumbling.values(), *_worker_differences(plan, list(workers), set(stumbling))]


def _program_differences(
    plan: Plan,
    programs: Mapping[str, Status],
    earlier: Mapping[str, Status],
    last_line: Callable[[str], str],
) -> Iterable[tuple[str, str]]:
    for name in (program.name for program in plan.programs):
        now, before = programs.get(name), earlier.get(name)
        if now is None:
            yield name, f"{name} is not known to the supervisor"
        elif now.state == STARTING or (now.state == RUNNING and not _same(now, before)):
            yield name, f"{name} has just been started"
        elif now.state != RUNNING:
            said = last_line(name)
            yield name, f"{name} is {now.state} ({now.detail})" + (f": {said}" if said else "")


def _same(now: Status, before: Status | None) -> bool:
    return before is not None and before.pid == now.pid


def _worker_differences(plan: Plan, workers: list[Worker], stumbling: set[str]) -> Iterable[str]:
    registered = {worker.worker_id: worker for worker in workers}
    for planned in plan.workers:
        worker = registered.pop(planned.worker_id, None)
        if planned.name in stumbling:
            continue
        if worker is None or worker.incarnation != plan.incarnation:
            yield f"{planned.name} has not registered as {planned.worker_id}"
        elif worker.state in _NOT_AT_WORK:
            because = f": {worker.reason}" if worker.reason else ""
            yield f"{planned.name} is {worker.state}{because}"
        elif worker.release != plan.release:
            runs = worker.release or f"a Muster {worker.version} that does not know its release"
            yield f"{planned.name} runs {runs}, not {plan.release}"
    for worker in registered.values():
        if worker.state is not WorkerState.OFFLINE:
            yield f"{worker.worker_id} is {worker.state}, but not planned"
