"""The rule of matching stands twice, in Lua for claims and in Python for people."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st
from redis.asyncio import Redis

from muster.jobs.leases import Leases
from muster.jobs.model import Capabilities, JobRequest, Requirements
from muster.jobs.queue import Queue
from muster.jobs.requirements import canonical, short_hash, unmet
from support.jobs import take

if TYPE_CHECKING:
    from muster.jobs.model import Lease

NAMES = st.sampled_from(["a", "a", "b", "1:2/@+-"])
VRAM = st.integers(0, 3) | st.sampled_from([24_576, 9_999_999, 10_000_000])
LABELS = st.dictionaries(NAMES, NAMES, max_size=3)
REQUIREMENTS = st.builds(
    Requirements, models=st.frozensets(NAMES, max_size=3), vram_mib=VRAM, labels=LABELS
)
CAPABILITIES = st.builds(
    Capabilities, service=NAMES, models=st.frozensets(NAMES), vram_mib=VRAM, labels=LABELS
)


async def taken(url: str, request: JobRequest, offer: Capabilities, *, first: str) -> list[Lease]:
    """Submit a job and let a worker ask for it; either side may come first."""
    async with Redis.from_url(url) as redis:
        queue = Queue(redis, f"matching-{secrets.token_hex(8)}")
        worker = Leases(queue, "worker", offer)
        if first == "worker":
            await worker.register()
        await queue.submit(request)
        if first == "job":
            await worker.register()
        leases = await take(worker)
        await redis.unlink(*[key async for key in redis.scan_iter(f"{queue.root}:*", count=1000)])
        return leases


@given(NAMES, REQUIREMENTS, CAPABILITIES, st.sampled_from(["job", "worker"]))
@example("a", Requirements(), Capabilities(service="a"), "job")
@example("a", Requirements(labels={"a": "b"}), Capabilities(service="a", labels={"a": "a"}), "job")
@example("a", Requirements(labels={"a": "b"}), Capabilities(service="a", labels={"a": "b"}), "job")
@example("a", Requirements(vram_mib=3), Capabilities(service="a", vram_mib=3), "worker")
def test_what_a_worker_is_given_is_what_meets_all_needs(
    redis_url: str, service: str, needs: Requirements, offer: Capabilities, first: str
) -> None:
    request = JobRequest(service=service, payload={}, requirements=needs)

    leases = asyncio.run(taken(redis_url, request, offer, first=first))

    assert bool(leases) == (unmet(service, needs, offer) == [])


@given(REQUIREMENTS, REQUIREMENTS)
def test_equal_needs_and_only_they_are_one_class(one: Requirements, other: Requirements) -> None:
    same = canonical("service", one) == canonical("service", other)

    assert same == (one == other)


@given(REQUIREMENTS)
def test_a_class_does_not_depend_on_the_order_in_which_needs_are_given(needs: Requirements) -> None:
    turned = Requirements(
        models=frozenset(sorted(needs.models, reverse=True)),
        vram_mib=needs.vram_mib,
        labels=dict(sorted(needs.labels.items(), reverse=True)),
    )

    assert canonical("service", turned) == canonical("service", needs)


def test_a_class_s_name_stays_the_same() -> None:
    # Queues outlive releases: a new name would leave jobs where nobody looks.
    text = canonical("comfyui", Requirements(models=frozenset({"b", "a"}), vram_mib=8))

    assert text == '{"service":"comfyui","models":["a","b"],"vram_mib":8,"labels":{}}'
    assert short_hash(text) == "83439cc6bdf8e9cb"
