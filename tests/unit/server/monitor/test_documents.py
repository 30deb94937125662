"""The law of the stream: a snapshot and the patches since are the state, at any moment."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from muster.fleet.model import MachineState, WorkerState
from muster.server.monitor.documents import difference
from muster.server.monitor.fold import Fleet
from muster.server.monitor.subscription import Subscription, fleet_document
from muster.server.monitor.views import View
from support.fleets import machine, worker
from support.screen import merged

KEYS = st.sampled_from("abcd")
LEAVES = st.integers(0, 3) | st.booleans() | st.text("xy", max_size=2)
VALUES = st.recursive(
    LEAVES | st.lists(LEAVES, max_size=2),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=4)

NAMES = st.sampled_from(["gpu-1", "gpu-2", "gpu-3"])
JOBS = st.sampled_from(["j1", "j2", "j3"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("machine"), NAMES, st.sampled_from(MachineState)),
        st.tuples(st.just("worker"), NAMES, st.sampled_from(WorkerState)),
        st.tuples(st.just("run"), JOBS, NAMES),
        st.tuples(st.just("end"), JOBS, st.just("")),
        st.tuples(st.just("progress"), JOBS, st.floats(0, 1)),
        st.tuples(st.just("silence"), NAMES, st.booleans()),
        st.tuples(st.just("forget"), NAMES, st.just("")),
    ),
    max_size=30,
)


@given(old=DOCUMENTS, new=DOCUMENTS)
def test_whoever_merges_the_difference_has_the_new_document(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    assert merged(old, difference(old, new)) == new


@given(document=DOCUMENTS)
def test_there_is_no_difference_between_equals(document: dict[str, Any]) -> None:
    assert difference(document, json.loads(json.dumps(document))) == {}


@given(steps=STEPS, told_after=st.sets(st.integers(0, 30)))
def test_snapshot_and_patches_are_the_state(
    steps: list[tuple[str, str, Any]], told_after: set[int]
) -> None:
    fleet, view, order = Fleet(), View(), ["gpu-1", "gpu-2", "gpu-9"]
    subscription = Subscription(view, order)
    subscription.refresh(_document(fleet, view, order))
    screen = json.loads(to_json(subscription.document))
    spoken: dict[str, float] = {}

    for number, (kind, name, value) in enumerate(steps):
        _do(fleet, spoken, kind, name, value)
        if number in told_after:
            patch = subscription.refresh(_document(fleet, view, order))
            screen = merged(screen, json.loads(to_json(patch)))

            assert screen == json.loads(to_json(_document(fleet, view, order)))
            assert screen == json.loads(to_json(subscription.document))


def _document(fleet: Fleet, view: View, order: list[str]) -> dict[str, Any]:
    return fleet_document(view, order, list(fleet.machines.shown), fleet, fleet.totals())


def _do(fleet: Fleet, spoken: dict[str, float], kind: str, name: str, value: Any) -> None:
    if kind == "machine":
        record = machine(name, state=value).model_dump_json().encode()
        fleet.report("machines", name, record, 1000)
        spoken.setdefault(name, 1000)
    elif kind == "worker":
        record = worker(name, state=value).model_dump_json().encode()
        fleet.report("workers", f"{name}-worker-0", record, 1000)
    elif kind == "run":
        fleet.job_event(name, b"running", f"{value}-worker-0", 1, 2000)
    elif kind == "end":
        fleet.job_event(name, b"completed", "", 1, 3000)
    elif kind == "progress":
        told = json.dumps({"attempt": 1, "fraction": value, "message": "m"})
        fleet.job_progress(name, told.encode())
    else:
        if kind == "silence" and name in spoken:
            spoken[name] = 1000 if value else 50_000
        elif kind == "forget":
            spoken.pop(name, None)
        workers = {f"{machine_id}-worker-0": at for machine_id, at in spoken.items()}
        fleet.age(dict(spoken), workers, 50_000)
