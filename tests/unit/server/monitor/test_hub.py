"""A hub and its viewers, on a real Redis: what reaches a screen, also after a gap."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import RedisError

from muster.fleet.model import MachineState, WorkerState
from muster.jobs.model import Capabilities, Completed, Progress
from muster.server.monitor.audience import KEPT_S, Resume
from muster.server.monitor.frames import Plain
from muster.server.monitor.levels import LATE_S, PUNCTUAL_S
from muster.server.monitor.selection import Query
from muster.server.monitor.viewer import BLOCKED_S, QUEUE, SILENT_S
from muster.server.monitor.views import View
from support.fleets import machine, register, worker
from support.jobs import a_request, a_worker, take
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from muster.fleet.registry import Registry
    from muster.jobs.queue import Queue
    from muster.server.monitor.hub import Hub
    from muster.server.monitor.metrics import Metrics
    from muster.server.monitor.viewer import Viewer
    from support.screen import Screen

pytestmark = pytest.mark.anyio

JOB = a_request()


def now() -> float:
    return asyncio.get_running_loop().time()


async def is_known(hub: Hub, *machine_ids: str) -> None:
    await eventually(
        lambda: set(machine_ids) <= set(hub.state.fleet.machines.shown), "the hub knows them"
    )


async def test_a_viewer_gets_hello_then_all_then_what_changes(
    hub: Hub, registry: Registry, watch: Callable[..., Screen]
) -> None:
    await register(registry, "a", "b")
    await is_known(hub, "a", "b")
    screen = watch(View())

    await screen.until(lambda document: document["order"] == ["a", "b"], "both are shown")
    await registry.report_machine(machine("a", state=MachineState.DEGRADED, reasons=["hot"]))
    await screen.until(
        lambda document: document["machines"]["a"]["state"] == "degraded", "the change is shown"
    )

    assert [message["type"] for message in screen.messages[:2]] == ["hello", "snapshot"]
    assert screen.document["machines"]["a"]["reasons"] == ["hot"]
    await screen.until(
        lambda document: document["fleet"]["machines"]["degraded"] == 1, "it is counted"
    )
    changed = [delta["machines"] for delta in screen.of("delta") if "machines" in delta]
    assert changed == [{"a": {"state": "degraded", "reasons": ["hot"]}}]


async def test_the_life_of_a_job_is_on_the_screen(
    hub: Hub, queue: Queue, registry: Registry, watch: Callable[..., Screen]
) -> None:
    await register(registry, "a")
    await is_known(hub, "a")
    screen = watch(View(machine="a"))
    leases = await a_worker(queue, "a-worker-0")
    job = (await queue.submit(JOB)).id

    (lease,) = await take(leases)
    shown = await screen.until(lambda document: job in document["jobs"], "the job runs")
    assert shown["jobs"][job]["worker"] == "a-worker-0"

    await leases.progress(lease, Progress(fraction=0.5, message="half"))
    await screen.until(
        lambda document: document["jobs"][job]["fraction"] == 0.5, "its progress is shown"
    )
    await leases.exchange([Completed(lease, b"{}")], want=0)
    await screen.until(
        lambda document: (
            job not in document["jobs"] and document["fleet"]["jobs"]["completed"] == 1
        ),
        "it is over",
    )
    await eventually(
        lambda: [e["state"] for m in screen.of("events") for e in m["events"]],
        "the machine's log is told",
        until=lambda states: states == ["running", "completed"],
    )


async def test_one_job_is_watched_from_its_queue_to_its_end(
    hub: Hub, queue: Queue, watch: Callable[..., Screen]
) -> None:
    submitted = await queue.submit(JOB)
    await hub.look(View(job=submitted.id))
    screen = watch(View(job=submitted.id))
    await screen.until(
        lambda document: document["jobs"][submitted.id]["state"] == "pending", "it waits"
    )
    before = screen.document["jobs"][submitted.id]["changes"]

    await queue.cancel(submitted.id)

    await screen.until(
        lambda document: document["jobs"][submitted.id]["state"] == "cancelled", "it is cancelled"
    )
    assert screen.document["jobs"][submitted.id]["changes"] > before
    assert "finished_at" in screen.document["jobs"][submitted.id]


async def test_who_joins_sees_at_once_how_far_jobs_are(
    hub: Hub, queue: Queue, registry: Registry, watch: Callable[..., Screen]
) -> None:
    await register(registry, "a")
    leases = await a_worker(queue, "a-worker-0")
    job = (await queue.submit(JOB)).id
    (lease,) = await take(leases)
    await leases.progress(lease, Progress(fraction=0.5, message="half"))
    await eventually(lambda: job in hub.state.fleet.jobs, "the hub knows that it runs")

    await hub.look(View())

    screen = watch(View())
    await screen.hears("snapshot")
    assert screen.of("snapshot")[0]["jobs"][job]["fraction"] == 0.5


async def test_a_job_that_there_is_not_is_said_to_be_missing(
    hub: Hub, watch: Callable[..., Screen]
) -> None:
    await hub.look(View(job="nobody"))

    await watch(View(job="nobody")).until(
        lambda document: document["missing"] == ["nobody"], "it is missing"
    )


async def test_of_jobs_that_were_looked_at_once_nothing_stays(hub: Hub) -> None:
    await asyncio.gather(*(hub.look(View(job=f"job-{number}")) for number in range(10)))

    await eventually(lambda: not hub.state.watched, "what was read of them is forgotten")
    assert not hub._arriving


async def test_rows_do_not_jump_while_live_and_the_number_of_changes_is_told(
    hub: Hub, registry: Registry, watch: Callable[..., Screen]
) -> None:
    await register(registry, "b", "c")
    await is_known(hub, "b", "c")
    old = watch(View())
    await old.until(lambda document: document["order"] == ["b", "c"], "two are shown")

    await register(registry, "a")

    await old.until(lambda document: document["page"]["changed"] == 3, "all three would move")
    assert old.document["order"] == ["b", "c"]
    assert set(old.document["machines"]) == {"b", "c"}
    fresh = watch(View())
    await fresh.until(lambda document: document["order"] == ["a", "b", "c"], "a fresh look")


async def test_named_machines_appear_when_they_register(
    hub: Hub, registry: Registry, watch: Callable[..., Screen]
) -> None:
    screen = watch(View(machines=("z", "a")))
    await screen.until(lambda document: document["missing"] == ["z", "a"], "both are missing")

    await register(registry, "a", "b")

    await screen.until(lambda document: set(document["machines"]) == {"a"}, "one appears")
    assert screen.document["order"] == ["z", "a"]
    assert screen.document["missing"] == ["z"]


@pytest.mark.failure(2)
async def test_equal_views_share_one_subscription_and_its_frames(
    hub: Hub, registry: Registry, watch: Callable[..., Screen], metrics: Metrics
) -> None:
    await register(registry, "a")
    await is_known(hub, "a")
    screens = [watch(View()) for _ in range(20)]
    for screen in screens:
        await screen.until(lambda document: document["order"] == ["a"], "it is shown")
    before = metrics.frames.labels("delta")._value.get()

    await registry.report_machine(machine("a", state=MachineState.DEGRADED))
    for screen in screens:
        await screen.until(
            lambda document: document["machines"]["a"]["state"] == "degraded", "it changed"
        )

    assert metrics.frames.labels("delta")._value.get() - before <= 2


@pytest.mark.failure(2)
async def test_a_silent_viewer_is_asked_for_nothing_and_stays(
    hub: Hub, watch: Callable[..., Screen]
) -> None:
    screen = watch(View())
    await screen.hears("snapshot")
    hub.audience.sweep(now() + SILENT_S + 1)
    await eventually(lambda: screen.comments, "a comment breaks the silence")

    hub.audience.sweep(now() + 300)

    hub.audience.broadcast({"type": "news"})
    await screen.hears("news")
    assert not screen.ended


async def test_a_stream_ends_when_it_has_lasted_long_enough(
    hub: Hub, watch: Callable[..., Screen]
) -> None:
    screen = watch(View())
    await screen.hears("snapshot")

    hub.audience.sweep(now() + 661)

    assert (await screen.hears("bye"))["reason"] == "rotation"
    await eventually(lambda: screen.ended, "the stream is over")


@pytest.mark.failure(2)
async def test_a_viewer_that_takes_nothing_is_cut_off_and_the_others_are_served(
    hub: Hub, registry: Registry, watch: Callable[..., Screen], metrics: Metrics
) -> None:
    await register(registry, "a")
    await is_known(hub, "a")
    stalled = hub.audience.join(View(), Plain(), None)

    async def never(content: bytes, more: bool) -> None:
        await asyncio.Event().wait()

    pump = asyncio.create_task(stalled.pump(never))
    other = watch(View())
    states = [MachineState.DEGRADED, MachineState.READY] * QUEUE
    for state in states:
        await registry.report_machine(machine("a", state=state))
        await other.until(
            lambda document, state=state: document["machines"]["a"]["state"] == state, "it is live"
        )
    assert stalled.queued <= QUEUE

    hub.audience.sweep(now() + BLOCKED_S + 1)

    await asyncio.wait({pump}, timeout=5)
    assert stalled.evicted
    assert metrics.evictions._value.get() == 1
    assert not other.ended


async def test_trimmed_telemetry_loses_no_state_and_nothing_begins_anew(
    hub: Hub,
    registry: Registry,
    redis: Redis,
    queue_name: str,
    watch: Callable[..., Screen],
    metrics: Metrics,
) -> None:
    await register(registry, "a")
    await is_known(hub, "a")
    screen = watch(View())
    await screen.hears("snapshot")
    loads = metrics.loads._value.get()

    async with redis.pipeline(transaction=True) as pipeline:  # as if the hub had been away
        record = machine("a", state=MachineState.DEGRADED).model_dump_json(exclude={"seen_at"})
        pipeline.hset(f"muster:{{{queue_name}}}:machines", "a", record)
        pipeline.xadd(f"muster:{{{queue_name}}}:telemetry", {"kind": "machines", "id": "x"})
        pipeline.xtrim(f"muster:{{{queue_name}}}:telemetry", maxlen=1, approximate=False)
        await pipeline.execute()

    await screen.until(
        lambda document: document["machines"]["a"]["state"] == "degraded", "the state is right"
    )
    assert metrics.loads._value.get() == loads


async def test_other_data_are_another_epoch(
    hub: Hub, registry: Registry, redis: Redis, queue_name: str, watch: Callable[..., Screen]
) -> None:
    await register(registry, "a")
    await is_known(hub, "a")
    screen = watch(View())
    await screen.until(lambda document: document["order"] == ["a"], "it is shown")
    resume = Resume.parse(screen.last_id)
    assert resume

    keys = [key async for key in redis.scan_iter(f"muster:{{{queue_name}}}:*")]
    await redis.unlink(*keys)
    await register(registry, "b")

    await screen.until(lambda document: not document["machines"], "the old machine is gone")
    await is_known(hub, "b")
    back = watch(View(), resume)
    await back.until(lambda document: document["order"] == ["b"], "the new one is there")
    assert back.of("hello")[0]["missed"] == "epoch"
    assert back.of("hello")[0]["resumed"] is False
    assert not back.last_id.startswith(resume.epoch)


@pytest.mark.failure(2)
async def test_a_resumed_viewer_keeps_its_rows_and_misses_nothing_of_the_log(
    hub: Hub, registry: Registry, queue: Queue, watch: Callable[..., Screen]
) -> None:
    await register(registry, "b")
    await is_known(hub, "b")
    leases = await a_worker(queue, "b-worker-0")
    first = watch(View(machine="b"))
    order = watch(View())
    await first.hears("snapshot")
    await order.hears("snapshot")
    submitted = await queue.submit(JOB)
    await take(leases)
    await first.hears("events")
    resume, rows = Resume.parse(first.last_id), Resume.parse(order.last_id)

    await queue.cancel(submitted.id)
    await register(registry, "a")
    await eventually(lambda: hub.state.log.told, "told", until=lambda told: told != resume.log)

    back = watch(View(machine="b"), resume)
    missed = await back.hears("events")
    assert [event["state"] for event in missed["events"]] == ["cancelled"]
    assert back.of("hello")[0]["resumed"] is True
    again = watch(View(), rows)
    await again.hears("snapshot")
    assert again.document["order"] == ["b"]
    await again.until(lambda document: document["page"]["changed"] == 2, "both would move")


async def test_a_log_that_was_trimmed_is_said_to_be_missed(
    hub: Hub, watch: Callable[..., Screen], queue: Queue
) -> None:
    await queue.submit(JOB)
    await eventually(lambda: hub.state.log.newest, "read", until=lambda newest: newest != "0-0")
    hub.state.log._complete_after = (2, 0)

    screen = watch(View(), Resume(hub.state.epoch, "1-0", "x"))

    await screen.hears("snapshot")
    assert screen.of("hello")[0]["missed"] == "trimmed"


async def test_what_nobody_looks_at_any_more_is_forgotten(
    hub: Hub, registry: Registry, metrics: Metrics
) -> None:
    viewer = hub.audience.join(View(), Plain(), None)
    hub.audience.leave(viewer)
    assert len(hub.audience._subscriptions) == 1

    hub.audience.sweep(now() + KEPT_S + 1)

    assert not hub.audience._subscriptions


def be(hub: Hub, lag_s: float) -> None:
    """Have the hub judge as if it had been so late for long, whatever it was before."""
    hub._judge((PUNCTUAL_S + LATE_S) / 2, 0)
    hub._judge(lag_s, 0)
    hub._judge(lag_s, 11)


@pytest.mark.failure(2)
async def test_a_late_server_sends_less_in_steps_and_all_again_when_it_can(
    hub: Hub, registry: Registry, watch: Callable[..., Screen]
) -> None:
    await register(registry, "a")
    await is_known(hub, "a")
    screen = watch(View())
    await screen.hears("snapshot")

    be(hub, LATE_S + 1)
    assert (await screen.hears("level"))["level"] == "slower"
    be(hub, LATE_S + 1)
    await eventually(lambda: screen.of("level")[-1]["level"] == "totals", "totals only")
    await registry.report_worker(worker("a", state=WorkerState.BUSY))
    await screen.until(lambda document: document["fleet"]["workers"]["busy"] == 1, "totals go on")
    assert screen.document["workers"]["a-worker-0"]["state"] == "idle"

    be(hub, 0)

    await screen.until(
        lambda document: document["workers"]["a-worker-0"]["state"] == "busy", "rows are back"
    )
    assert screen.of("level")[-1]["level"] == "slower"
    be(hub, 0)
    await eventually(lambda: screen.of("level")[-1]["level"] == "live", "live again")


async def test_who_missed_the_news_is_told_the_level_and_that_all_is_old(
    hub: Hub, showing: Callable[[Viewer], Screen]
) -> None:
    # Given viewers that take nothing while the server becomes late
    be(hub, LATE_S + 1)
    stalled = hub.audience.join(View(), Plain(), None)
    for _ in range(QUEUE):
        hub.audience.broadcast({"type": "news"})

    # When they miss that it is on time again, and that Redis is away
    be(hub, 0)
    hub.audience.set_away({"type": "away"})

    # Then both are told with the snapshot
    screen = showing(stalled)
    await screen.hears("away")
    assert [message["type"] for message in screen.messages] == ["level", "snapshot", "away"]
    assert screen.of("level")[0]["level"] == "live"


async def test_at_the_last_level_streams_end_and_say_so(
    hub: Hub, watch: Callable[..., Screen]
) -> None:
    screen = watch(View())
    await screen.hears("snapshot")
    for _ in range(3):
        be(hub, LATE_S + 1)

    await eventually(lambda: screen.ended, "the stream ends")
    assert screen.messages[-1]["level"] == "polling"


async def test_a_viewer_whose_token_was_removed_is_shown_out(hub: Hub) -> None:
    allowed = [True]
    viewer = hub.audience.join(View(), Plain(), None, lambda: allowed[0])
    sent: list[bytes] = []

    async def send(content: bytes, more: bool) -> None:
        sent.append(content)

    pump = asyncio.create_task(viewer.pump(send))
    hub.audience.sweep(now())
    allowed[0] = False
    hub.audience.sweep(now())

    await asyncio.wait_for(pump, 5)
    assert b'"reason":"session"' in b"".join(sent)


async def test_while_redis_is_away_that_is_said_again_and_viewers_are_seen_to(
    hub: Hub, showing: Callable[[Viewer], Screen], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given two viewers, and a Redis that has gone
    allowed = [True]
    stays = showing(hub.audience.join(View(), Plain(), None))
    goes = showing(hub.audience.join(View(), Plain(), None, lambda: allowed[0]))
    monkeypatch.setattr("muster.server.monitor.hub.AWAY_EVERY_S", 0.1)

    async def gone(*_: object) -> None:
        raise RedisError

    monkeypatch.setattr(hub._source, "read", gone)
    monkeypatch.setattr(hub._source, "load", gone)

    await goes.hears("away")
    allowed[0] = False
    assert (await goes.hears("bye"))["reason"] == "session"
    await eventually(lambda: len(stays.of("away")) > 1, "the other is told again")


async def test_a_filter_finds_by_label_and_job(
    hub: Hub, registry: Registry, watch: Callable[..., Screen]
) -> None:
    labelled = Capabilities(service="simulation", labels={"region": "eu"})
    await register(registry, "a", "b")
    await registry.report_worker(worker("b", capabilities=labelled))
    await is_known(hub, "a", "b")
    await eventually(
        lambda: hub.state.fleet.workers.shown["b-worker-0"]["labels"], "the label is known"
    )

    screen = watch(View(query=Query("region=eu")))

    await screen.until(lambda document: document["order"] == ["b"], "only that one is shown")
