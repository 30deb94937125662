"""Problems told to a real receiver, over HTTP and TLS."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import pytest
import stamina
import trustme

from muster.matrix.results import webhook
from muster.matrix.results.webhook import NotDelivered
from support.cli import Muster
from support.results import measured, run, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "the receiver knows it"


class Receiver:
    """An HTTP server that keeps what it is sent, and answers as it is told, then 200."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.took: list[dict[str, Any]] = []
        self.answers: deque[int] = deque()
        self.asked = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.asked += 1
                status = receiver.answers.popleft() if receiver.answers else 200
                if status == 200:
                    assert webhook.is_signed(
                        body, SECRET.encode(), self.headers[webhook.SIGNATURE],
                        now=time.time(), age_s=60,
                    )  # fmt: skip
                    receiver.took.append(json.loads(body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def heads(self) -> list[str]:
        """The first lines of the messages."""
        return [message["text"].partition("\n")[0] for message in self.took]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Muster:
    """The command line in a folder of its own, with the secret that receivers know."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MUSTER_RESULTS_URL", raising=False)
    monkeypatch.setenv("MUSTER_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return Muster()


@pytest.fixture(autouse=True)
def _quick_retries() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


def test_a_drop_made_on_purpose_is_told_once_and_when_it_is_over(
    check: Muster, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given twenty runs, on computers of different speed
    monkeypatch.setenv("MUSTER_WEBHOOK_URL", receiver.url)
    runs = tmp_path / "results" / "runs"
    for day in range(20):
        speed = 1 + day % 5 / 10
        rate = measured("claims", 8000 * speed, control=40000 * speed)
        write(runs, run("load", day=day, environment="production-like", measures=[rate]))
    assert check("results", "check").code == 0
    assert receiver.took == []

    # When code becomes slower
    slow = run("load", day=20, environment="production-like", revision="slow",
               measures=[measured("claims", 5000, control=40000)])  # fmt: skip
    write(runs, slow)
    assert check("results", "report", "--alert").code == 1
    assert check("results", "check").code == 1

    # Then that is told, once
    assert receiver.heads == ["Problem: drop: claims in load on production-like"]
    assert "is 38% worse than usual: 5000 1/s" in receiver.took[0]["text"]
    assert [block["type"] for block in receiver.took[0]["blocks"]] == [
        "header", "section", "context",
    ]  # fmt: skip
    page = (tmp_path / "results" / "report.html").read_text()
    assert "38% worse than usual" in page
    assert "over 21 runs" in page

    # When it is mended, then that is told too
    fast = measured("claims", 8100, control=40000)
    write(runs, run("load", day=21, environment="production-like", measures=[fast]))
    assert check("results", "check").code == 0
    assert receiver.heads[1:] == ["Over: drop: claims in load on production-like"]


def test_a_receiver_that_stumbles_is_tried_again(
    check: Muster, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_WEBHOOK_URL", receiver.url)
    write(tmp_path / "results" / "runs", run(outcomes={"a": "failed"}))
    receiver.answers.extend([503, 429])

    check("results", "check")

    assert receiver.heads == ["Problem: tier fails: unit on local"]
    assert receiver.asked == 3


def test_one_that_refuses_is_asked_once_and_told_at_the_next_check(
    check: Muster, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_WEBHOOK_URL", receiver.url)
    write(tmp_path / "results" / "runs", run(outcomes={"a": "failed"}))
    receiver.answers.append(403)

    failed = check("results", "check").error

    assert isinstance(failed, NotDelivered)
    assert str(failed) == "The webhook at 127.0.0.1 answered 403."
    assert receiver.asked == 1
    check("results", "check")
    assert receiver.heads == ["Problem: tier fails: unit on local"]


def test_one_that_is_not_there_is_an_error(
    check: Muster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver() as gone:
        monkeypatch.setenv("MUSTER_WEBHOOK_URL", gone.url)
    write(tmp_path / "results" / "runs", run(outcomes={"a": "failed"}))

    assert "is not reached" in str(check("results", "check").error)


@pytest.mark.parametrize(
    ("host", "trusted", "told"),
    [
        ("127.0.0.1", True, None),
        ("127.0.0.1", False, "CERTIFICATE_VERIFY_FAILED"),
        ("other.example.org", True, "CERTIFICATE_VERIFY_FAILED"),
    ],
    ids=["right", "of an unknown authority", "of another host"],
)
def test_certificates_are_verified(
    check: Muster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    trusted: bool,
    told: str | None,
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    known = authority if trusted else trustme.CA()
    known.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    write(tmp_path / "results" / "runs", run(outcomes={"a": "failed"}))

    with Receiver(context) as receiver:
        monkeypatch.setenv("MUSTER_WEBHOOK_URL", receiver.url)
        error = check("results", "check").error

    assert len(receiver.took) == (0 if told else 1)
    assert told is None if error is None else told and told in str(error)
