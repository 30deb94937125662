"""Invariant 2: an outcome is committed once, and only by the holder of the current token."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from muster.jobs.model import JobState, LeaseState, Progress, Released
from support.jobs import (
    a_request,
    a_worker,
    completed,
    contents,
    expire,
    failed,
    hand_in,
    take,
    take_one,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muster.jobs.leases import Leases
    from muster.jobs.model import Lease, Outcome
    from muster.jobs.queue import Queue
    from muster.jobs.recovery import Recovery

    Revoke = Callable[[Queue, Lease], Awaitable[object]]
    MakeOutcome = Callable[[Lease], Outcome]

pytestmark = pytest.mark.anyio

OUTCOMES = [completed, failed, Released]


async def started(queue: Queue, **fields: object) -> tuple[Leases, Lease]:
    await queue.submit(a_request(**fields))
    worker = await a_worker(queue)
    return worker, await take_one(worker)


async def lose(queue: Queue, lease: Lease) -> None:
    await expire(queue, lease)
    from muster.jobs.recovery import Recovery

    assert (await Recovery(queue).recover())[1] == 1


async def lose_and_take_again(queue: Queue, lease: Lease) -> None:
    from muster.jobs.recovery import Recovery

    await lose(queue, lease)
    await queue.redis.zadd(queue.key("scheduled"), {lease.job_id: 1}, xx=True)
    await Recovery(queue).recover()
    await take_one(await a_worker(queue, "worker-2"))


async def cancel(queue: Queue, lease: Lease) -> None:
    await queue.cancel(lease.job_id)


async def cancel_and_retry(queue: Queue, lease: Lease) -> None:
    await queue.cancel(lease.job_id)
    await queue.retry(lease.job_id)


async def cancel_retry_and_take_again(queue: Queue, lease: Lease) -> None:
    await cancel_and_retry(queue, lease)
    await take_one(await a_worker(queue, "worker-2"))


async def restart_the_worker(queue: Queue, lease: Lease) -> None:
    assert await (await a_worker(queue)).reclaim(lost=True) == 1


async def lose_the_answer(queue: Queue, lease: Lease) -> None:
    assert await (await a_worker(queue)).reclaim(lost=False) == 1


async def lose_the_answer_and_take_again(queue: Queue, lease: Lease) -> None:
    await lose_the_answer(queue, lease)
    await take_one(await a_worker(queue))


REVOCATIONS: list[Revoke] = [
    lose,
    lose_and_take_again,
    cancel,
    cancel_and_retry,
    cancel_retry_and_take_again,
    restart_the_worker,
    lose_the_answer,
    lose_the_answer_and_take_again,
]


@pytest.mark.parametrize("make_outcome", OUTCOMES)
@pytest.mark.parametrize("revoke", REVOCATIONS)
@pytest.mark.failure(7)
async def test_invariant_2_a_revoked_token_commits_nothing(
    queue: Queue, revoke: Revoke, make_outcome: MakeOutcome
) -> None:
    worker, lease = await started(queue, max_lost=2)
    await revoke(queue, lease)
    before = await contents(queue)

    assert await hand_in(worker, make_outcome(lease)) == [LeaseState.LOST]

    assert await contents(queue) == before


@pytest.mark.parametrize("revoke", REVOCATIONS)
@pytest.mark.failure(13)
async def test_invariant_2_a_revoked_token_neither_reports_nor_extends(
    queue: Queue, revoke: Revoke
) -> None:
    worker, lease = await started(queue, max_lost=2)
    await revoke(queue, lease)
    before = await contents(queue)

    assert await worker.progress(lease, Progress(fraction=0.5)) is LeaseState.LOST
    assert await worker.extend([lease]) == [LeaseState.LOST]

    assert await contents(queue) == before


@pytest.mark.parametrize("make_outcome", OUTCOMES)
async def test_invariant_2_the_same_outcome_again_is_ok_and_changes_nothing(
    queue: Queue, make_outcome: MakeOutcome
) -> None:
    worker, lease = await started(queue)
    outcome = make_outcome(lease)
    assert await hand_in(worker, outcome) == [LeaseState.OK]
    before = await contents(queue)

    assert await hand_in(worker, outcome, outcome) == [LeaseState.OK, LeaseState.OK]

    assert await contents(queue) == before


async def test_invariant_2_the_same_outcome_twice_in_one_call_counts_once(queue: Queue) -> None:
    worker, lease = await started(queue)

    assert await hand_in(worker, failed(lease), failed(lease)) == ["ok", "ok"]

    assert (await queue.get(lease.job_id)).failed_attempts == 1


async def test_invariant_2_of_many_who_hand_in_at_once_one_commits(queue: Queue) -> None:
    worker, lease = await started(queue)
    other = await a_worker(queue, "worker-2")

    answers = await asyncio.gather(
        *(hand_in(w, completed(lease, n)) for n, w in enumerate([worker, other] * 5))
    )

    # All hold the token, so all are told that it is done; the first result stands.
    assert answers == [[LeaseState.OK]] * 10
    job = await queue.get(lease.job_id)
    events = await queue.redis.xrange(queue.key("events"))
    assert sum(fields[b"state"] == b"completed" for _, fields in events) == 1
    assert job.result in range(10)


async def test_invariant_2_the_last_word_is_not_undone_by_a_cancel(queue: Queue) -> None:
    worker, lease = await started(queue)
    await hand_in(worker, completed(lease, {"image": 1}))

    with pytest.raises(Exception, match="completed already"):
        await queue.cancel(lease.job_id)

    job = await queue.get(lease.job_id)
    assert (job.state, job.result) == (JobState.COMPLETED, {"image": 1})


async def test_invariant_2_the_token_decides_and_not_the_clock(queue: Queue) -> None:
    worker, lease = await started(queue)
    await expire(queue, lease)

    assert await hand_in(worker, completed(lease)) == [LeaseState.OK]


async def test_an_expired_lease_that_nobody_recovered_can_be_extended(
    queue: Queue, recovery: Recovery
) -> None:
    worker, lease = await started(queue)
    await expire(queue, lease)

    assert await worker.extend([lease]) == [LeaseState.OK]

    assert await recovery.recover() == (0, 0)


async def test_each_outcome_of_a_call_has_its_own_answer(queue: Queue) -> None:
    await queue.submit_many([a_request()] * 4)
    worker = await a_worker(queue)
    leases = await take(worker, 4)
    await queue.cancel(leases[1].job_id)

    answers = await hand_in(
        worker,
        completed(leases[0]),
        completed(leases[1]),
        failed(leases[2], retryable=False),
        Released(leases[3]),
    )

    assert answers == ["ok", "lost", "ok", "ok"]
    states = [(await queue.get(lease.job_id)).state for lease in leases]
    assert states == ["completed", "cancelled", "failed", "pending"]


async def test_each_lease_of_an_extension_has_its_own_answer(queue: Queue) -> None:
    await queue.submit_many([a_request()] * 3)
    worker = await a_worker(queue)
    leases = await take(worker, 3)
    await queue.cancel(leases[1].job_id)

    assert await worker.extend(leases) == ["ok", "lost", "ok"]
    assert await worker.extend([]) == []
