"""Machines of 1 and of 8 GPUs, side by side in one run: what counts are the ratios."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

import pytest

from support.system.machines import REST, SERVICE, WORKER
from support.system.work import all_complete, submit

if TYPE_CHECKING:
    from muster.matrix.results.plugin import TakesMeasure
    from support.system.machines import MachineContainer
    from support.system.stack import Stack

COUNTS = (1, 8)
JOBS_PER_GPU = 8
STEP_TIME_S = 0.2
"""Long steps: the simulated GPU is what takes the time, not the computer that simulates it."""
RESULTS = Path(__file__).parents[3] / "results" / "system-scaling.json"


@dataclass(frozen=True)
class Measured:
    """One machine: seconds to start, CPU seconds and memory of its processes, jobs a second."""

    gpus: int
    start_s: float
    cpu_s: dict[str, float]
    memory_mib: dict[str, float]
    jobs_per_gpu_s: float


@pytest.fixture(scope="module")
def measured(stack: Stack) -> dict[int, Measured]:
    """Both, one after the other, on the same Redis and server."""
    results = {gpus: _measure(stack, gpus) for gpus in COUNTS}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([asdict(each) for each in results.values()], indent=2) + "\n")
    print(_table(results))
    return results


@pytest.mark.failure(3)
def test_maintains_worker_performance_across_gpu_counts(
    measured: dict[int, Measured], measure: TakesMeasure
) -> None:
    one, eight = (measured[gpus].jobs_per_gpu_s for gpus in COUNTS)

    measure("jobs per GPU on a machine of 8", eight, "1/s", better="higher", control=one)
    assert eight / one > 0.8, f"{eight:.2f} jobs per GPU and second with 8, {one:.2f} with 1"


@pytest.mark.failure(3)
def test_starting_costs_the_same_for_each_process(
    measured: dict[int, Measured], measure: TakesMeasure
) -> None:
    one, eight = (measured[gpus] for gpus in COUNTS)

    measure("start of a machine of 8", eight.start_s, "s", better="lower", control=one.start_s)
    for kind in (WORKER, SERVICE):
        assert eight.cpu_s[kind] < 2 * one.cpu_s[kind], kind
        assert eight.memory_mib[kind] < 1.2 * one.memory_mib[kind], kind


def _measure(stack: Stack, gpus: int) -> Measured:
    started = time.monotonic()
    machine = stack.start_machine(
        f"of-{gpus}", gpus=gpus, service_options=f"--step-time {STEP_TIME_S}"
    )
    try:
        machine.until_workers_idle()
        start_s = time.monotonic() - started
        costs = machine.costs()
        return Measured(
            gpus=gpus,
            start_s=round(start_s, 2),
            cpu_s={kind: round(mean(c.cpu_s for c in each), 3) for kind, each in costs.items()},
            memory_mib={
                kind: round(mean(c.memory_mib for c in each), 1) for kind, each in costs.items()
            },
            jobs_per_gpu_s=round(_jobs_per_gpu_s(stack, machine), 3),
        )
    finally:
        machine.remove()


def _jobs_per_gpu_s(stack: Stack, machine: MachineContainer) -> float:
    with stack.client() as client:
        jobs = submit(client, machine, jobs=JOBS_PER_GPU * machine.gpus)
        done = all_complete(stack, client, machine, jobs, timeout_s=180)
    begun = min(job.started_at for job in done if job.started_at)
    ended = max(job.finished_at for job in done if job.finished_at)
    return JOBS_PER_GPU / (ended - begun).total_seconds()


def _table(results: dict[int, Measured]) -> str:
    rows = [
        ("GPUs", *(str(gpus) for gpus in COUNTS)),
        ("from start to all workers idle, s", *(f"{m.start_s:.1f}" for m in results.values())),
        *(
            (f"CPU seconds: {kind}", *(f"{m.cpu_s[kind]:.2f}" for m in results.values()))
            for kind in (WORKER, SERVICE, REST)
        ),
        *(
            (f"memory, MiB: {kind}", *(f"{m.memory_mib[kind]:.0f}" for m in results.values()))
            for kind in (WORKER, SERVICE, REST)
        ),
        ("jobs per GPU and second", *(f"{m.jobs_per_gpu_s:.3f}" for m in results.values())),
    ]
    return "\n" + "\n".join(f"{name:<50}{one:>8}{eight:>8}" for name, one, eight in rows)
