"""What the client sends again, what it does not, and that a submission is never doubled."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import stamina

from muster.client import (
    AsyncClient,
    Client,
    JobRequest,
    ServerFailed,
    ServerUnavailable,
)
from muster.errors import Busy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import respx

URL = "https://muster.example"
QUEUE = {"queue": "default", "paused": False, "counts": {}}
REQUEST = JobRequest(service="simulation", payload={})


@pytest.fixture(autouse=True)
def _without_pauses() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


def problem(status: int, **headers: str) -> httpx.Response:
    body = {"type": "urn:x", "title": "t", "status": status, "detail": "in the server's words"}
    return httpx.Response(status, json=body, headers=headers)


def in_turn(*answers: httpx.Response | Exception) -> Callable[[httpx.Request], httpx.Response]:
    rest = list(answers)

    def answer(_: httpx.Request) -> httpx.Response:
        now = rest.pop(0)
        if isinstance(now, Exception):
            raise now
        return now

    return answer


AWAY = [
    httpx.ConnectError("refused"),
    httpx.ReadError("reset"),
    httpx.ReadTimeout("silence"),
    problem(503),
    problem(503, **{"Retry-After": "0"}),
    problem(429, **{"Retry-After": "0"}),
    httpx.Response(502, text="<html>"),
]


@pytest.mark.parametrize("away", AWAY, ids=repr)
def test_reading_is_repeated_until_it_is_answered(away: Any, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.get(f"{URL}/v1/queue").mock(
        side_effect=in_turn(away, httpx.Response(200, json=QUEUE))
    )

    with Client(URL, "t") as muster:
        assert muster.queue().paused is False

    assert route.call_count == 2


@pytest.mark.parametrize("away", AWAY, ids=repr)
def test_a_repeated_submission_carries_the_same_key(
    away: Any, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.post(f"{URL}/v1/jobs").mock(
        side_effect=in_turn(away, httpx.Response(201, json={"id": "j1"}))
    )

    with Client(URL, "t") as muster:
        muster.submit(REQUEST)

    first, second = (json.loads(call.request.content) for call in route.calls)
    assert first["idempotency_key"] == second["idempotency_key"]
    assert first["idempotency_key"]


def test_jobs_of_a_bulk_get_a_key_each_and_keep_their_own(respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(f"{URL}/v1/jobs/bulk").mock(return_value=httpx.Response(201, json=[]))
    own = REQUEST.model_copy(update={"idempotency_key": "mine"})

    with Client(URL, "t") as muster:
        muster.submit_many([REQUEST, own, REQUEST])

    keys = [job["idempotency_key"] for job in json.loads(route.calls.last.request.content)]
    assert keys[1] == "mine"
    assert len(set(keys)) == 3


def test_a_cancel_that_may_have_happened_is_not_repeated(respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(f"{URL}/v1/jobs/j1/cancel").mock(side_effect=httpx.ReadError("reset"))

    with Client(URL, "t") as muster, pytest.raises(ServerUnavailable):
        muster.cancel("j1")

    assert route.call_count == 1


def test_patience_ends_in_the_last_error(respx_mock: respx.MockRouter) -> None:
    respx_mock.get(f"{URL}/v1/queue").mock(return_value=problem(429, **{"Retry-After": "60"}))

    with Client(URL, "t", patience_s=1) as muster, pytest.raises(Busy, match="words") as busy:
        muster.queue()

    assert busy.value.retry_after == 60


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"paused": "perhaps"}),
        httpx.Response(307, headers={"Location": "https://elsewhere.example"}),
        httpx.Response(404, text="<html>"),
        problem(500),
    ],
    ids=repr,
)
def test_an_answer_that_makes_no_sense_is_told_at_once(
    answer: httpx.Response, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.get(f"{URL}/v1/queue").mock(return_value=answer)

    with Client(URL, "t") as muster, pytest.raises(ServerFailed):
        muster.queue()

    assert route.call_count == 1


def test_the_token_goes_into_the_header_and_nowhere_else(respx_mock: respx.MockRouter) -> None:
    route = respx_mock.get(f"{URL}/v1/queue").mock(return_value=httpx.Response(200, json=QUEUE))

    with Client(URL, "t0ken") as muster:
        muster.queue()

    request = route.calls.last.request
    assert request.headers["Authorization"] == "Bearer t0ken"
    assert "t0ken" not in str(request.url)


@pytest.mark.anyio
async def test_the_async_client_repeats_as_well(respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(f"{URL}/v1/jobs").mock(
        side_effect=in_turn(problem(503), httpx.Response(201, json={"id": "j1"}))
    )

    async with AsyncClient(URL, "t") as muster:
        assert (await muster.submit(REQUEST)).id == "j1"

    assert route.call_count == 2
