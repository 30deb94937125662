from __future__ import annotations

from datetime import UTC, datetime

import pytest
import respx
import stamina
from structlog.testing import capture_logs

from muster.errors import InvalidInput
from muster.matrix.results import webhook
from muster.matrix.results.alerts import Known

BODY, SECRET = b'{"text":"x"}', b"secret"


def valid(**changes: object) -> bool:
    given = {"body": BODY, "secret": SECRET, "signature": webhook.sign(BODY, SECRET, 1000)}
    return webhook.is_signed(**{**given, "now": 1010, "age_s": 60, **changes})  # type: ignore[arg-type]


def test_a_fresh_signature_of_the_body_is_valid() -> None:
    assert valid()


@pytest.mark.parametrize(
    "changes",
    [
        {"body": b'{"text":"y"}'},
        {"secret": b"another"},
        {"now": 2000},
        {"signature": webhook.sign(BODY, SECRET, 1000).replace("t=1000", "t=1005")},
        {"signature": "nonsense"},
        {"signature": ""},
        {"signature": "t=1000,v1=\xe9"},
        {"signature": "t=\u0661,v1=0"},
        {"signature": f"t={'9' * 5000},v1=0"},
    ],
)
def test_any_other_is_not(changes: dict[str, object]) -> None:
    assert not valid(**changes)


@pytest.mark.parametrize("url", ["http://hooks.example.org/x", "ftp://127.0.0.2/", "hooks"])
def test_plain_http_is_for_this_computer_only(url: str) -> None:
    with pytest.raises(InvalidInput, match="is not an https URL") as failure:
        webhook.Webhook(url, "secret")
    assert url not in str(failure.value)  # it holds the receiver's own secret


def test_without_a_url_there_is_no_webhook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_WEBHOOK_URL", "")

    assert webhook.from_environment() is None


@respx.mock
def test_tries_that_fail_are_logged_without_the_url() -> None:
    respx.post("https://hooks.example.org/services/T0/secret-of-the-url").respond(503)
    hook = webhook.Webhook("https://hooks.example.org/services/T0/secret-of-the-url", "secret")
    problem = Known("key", "drop", "told", datetime.now(UTC), None, None)

    with (
        stamina.set_testing(True, attempts=3),
        capture_logs() as logged,
        pytest.raises(webhook.NotDelivered, match=r"at hooks\.example\.org answered 503"),
    ):
        hook.send(problem)

    assert len(logged) == 2
    assert "secret-of-the-url" not in str(logged)
