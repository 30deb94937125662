"""Commands about jobs, from the first submission to the story of the last attempt."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from muster.client import Client, JobState, Rejected
from muster.errors import Conflict, InvalidInput, NotFound
from muster.server.auth import Role
from support.server import URL
from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.cli import Muster
    from support.server import RunningServer

pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with Client(URL, server.tokens[Role.OPERATE], transport=server) as client:
        yield client


def submitted(muster: Muster, *arguments: str) -> str:
    outcome = muster("submit", "simulation", "{}", *arguments)
    assert outcome.code == 0, outcome
    return outcome.out.strip()


def test_a_payload_comes_from_an_argument_a_file_stdin_or_the_examples(
    muster: Muster, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "job.json").write_text('{"from": "file"}')

    ids = [
        muster("submit", "simulation", '{"from": "argument"}').out.strip(),
        muster("submit", "simulation", f"@{tmp_path}/job.json").out.strip(),
        muster("submit", "simulation", "-", stdin='{"from": "stdin"}').out.strip(),
        muster("submit", "comfyui", "--example").out.strip(),
    ]

    payloads = [client.get(job_id).payload for job_id in ids]
    assert payloads[:3] == [{"from": "argument"}, {"from": "file"}, {"from": "stdin"}]
    assert payloads[3] is not None
    assert payloads[3]["prompt"]["3"]["inputs"]["seed"] == 0


def test_everything_that_a_job_can_ask_for_is_an_option(muster: Muster, client: Client) -> None:
    options = "--priority 0 --model sdxl --model flux --vram-mib 8000 --label zone=a --delay 60"

    job = client.get(submitted(muster, *options.split(), "--timeout", "5", "--max-failed", "1"))

    assert (job.priority, job.timeout_s, job.max_failed) == (0, 5, 1)
    assert job.requirements.models == {"sdxl", "flux"}
    assert (job.requirements.vram_mib, job.requirements.labels) == (8000, {"zone": "a"})
    assert job.state == "scheduled"


def test_a_batch_is_numbered_and_submitted_once(muster: Muster, client: Client) -> None:
    arguments = ("submit", "simulation", '{"n": "$N", "list": ["$N", "$Na"]}')
    batch = (*arguments, "--count", "3", "--idempotency-key", "batch", "--json")

    first, second = json.loads(muster(*batch).out), json.loads(muster(*batch).out)

    assert [made["id"] for made in first] == [made["id"] for made in second]
    assert [made["duplicate"] for made in second] == [True] * 3
    assert [client.get(made["id"]).payload for made in first] == [
        {"n": n, "list": [n, "$Na"]} for n in range(3)
    ]


def test_a_dry_run_prints_the_request_and_sends_nothing(muster: Muster, client: Client) -> None:
    outcome = muster("submit", "simulation", '{"a": 1}', "--priority", "7", "--dry-run")

    assert json.loads(outcome.out) == {
        "service": "simulation",
        "payload": {"a": 1},
        "priority": 7,
    }
    assert sum(client.queue().counts.values()) == 0


def test_watching_ends_with_the_jobs_and_fails_with_them(muster: Muster, client: Client) -> None:
    def cancel() -> None:
        for job in eventually_blocking(
            lambda: client.jobs(JobState.PENDING).jobs,
            "both are submitted",
            until=lambda jobs: len(jobs) == 2,
        ):
            client.cancel(job.id)

    other = threading.Thread(target=cancel)
    other.start()
    outcome = muster("submit", "simulation", "{}", "--count", "2", "--watch")
    other.join()

    assert outcome.code == 1
    assert "2 cancelled" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["{"], "PAYLOAD"),
        (["[]"], "PAYLOAD"),
        (["@/nowhere.json"], "PAYLOAD"),
        (["{}", "--label", "zone"], "--label"),
        (["{}", "--at", "soon"], "--at"),
        (["{}", "--at", "2030-01-01", "--delay", "1"], "--delay and --at"),
        (["{}", "--timeout", "0"], "timeout_s"),
        (["{}", "--max-failed", "0"], "max_failed"),
    ],
)
def test_bad_input_is_named_and_nothing_is_submitted(
    muster: Muster, client: Client, arguments: list[str], field: str
) -> None:
    error = muster("submit", "simulation", *arguments).error

    assert isinstance(error, InvalidInput)
    assert error.field == field
    assert sum(client.queue().counts.values()) == 0


def test_what_the_server_refuses_is_bad_input_too(muster: Muster) -> None:
    assert isinstance(muster("submit", "nope", "{}").error, Rejected)
    assert isinstance(muster("submit", "nope", "--example").error, InvalidInput)


def test_jobs_are_listed_for_people_and_for_scripts(muster: Muster) -> None:
    waiting, cancelled = submitted(muster), submitted(muster)
    muster("cancel", cancelled)

    table = muster("jobs").out
    everything = json.loads(muster("jobs", "--json").out)
    pending = json.loads(muster("jobs", "--json", "--state", "pending").out)

    assert waiting in table
    assert "1 pending" in table
    assert {job["id"]: job["state"] for job in everything} == {
        waiting: "pending",
        cancelled: "cancelled",
    }
    assert [job["id"] for job in pending] == [waiting]
    assert len(json.loads(muster("jobs", "--json", "--limit", "1").out)) == 1


def test_one_job_is_shown_whole(muster: Muster) -> None:
    job_id = muster("submit", "simulation", '{"what": "this"}').out.strip()

    assert '"what": "this"' in muster("jobs", job_id).out
    assert json.loads(muster("jobs", job_id, "--json").out)["payload"] == {"what": "this"}


def test_a_job_is_explained_cancelled_and_retried(muster: Muster) -> None:
    job_id = submitted(muster)

    assert "No worker is alive." in muster("explain", job_id).out
    assert "cancelled" in muster("cancel", job_id).out
    assert isinstance(muster("cancel", job_id).error, Conflict)
    assert "pending" in muster("retry", job_id).out
    assert isinstance(muster("jobs", "nope").error, NotFound)


def test_the_queue_is_paused_and_resumed(muster: Muster) -> None:
    assert "is paused" in muster("pause").out
    assert "The queue is paused." in muster("jobs").out
    assert json.loads(muster("resume", "--json").out)["paused"] is False
