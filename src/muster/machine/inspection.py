"""Compares what runs on a machine with its plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.fleet.model import WorkerState
from muster.machine.supervisor import RUNNING

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
    return [
        *_program_differences(plan, programs, earlier, last_line),
        *_worker_differences(plan, list(workers)),
    ]


def _program_differences(
    plan: Plan,
    programs: Mapping[str, Status],
    earlier: Mapping[str, Status],
    last_line: Callable[[str], str],
) -> Iterable[str]:
    for program in plan.programs:
        now, before = programs.get(program.name), earlier.get(program.name)
        if now is None:
            yield f"{program.name} is not known to the supervisor"
        elif now.state != RUNNING:
            said = last_line(program.name)
            yield f"{program.name} is {now.state} ({now.detail})" + (f": {said}" if said else "")
        elif before is None or before.pid != now.pid:
            yield f"{program.name} has just started"


def _worker_differences(plan: Plan, workers: list[Worker]) -> Iterable[str]:
    registered = {worker.worker_id: worker for worker in workers}
    for planned in plan.workers:
        worker = registered.pop(planned.worker_id, None)
        if worker is None or worker.incarnation != plan.incarnation:
            yield f"{planned.name} has not registered as {planned.worker_id}"
        elif worker.state in _NOT_AT_WORK:
            because = f": {worker.reason}" if worker.reason else ""
            yield f"{planned.name} is {worker.state}{because}"
    for worker in registered.values():
        if worker.state is not WorkerState.OFFLINE:
            yield f"{worker.worker_id} is {worker.state}, but not planned"
