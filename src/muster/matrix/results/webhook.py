"""Sends news of problems to a webhook, in the JSON that Slack takes, signed."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import stamina

from muster.errors import InvalidInput, MusterError

if TYPE_CHECKING:
    from muster.matrix.results.alerts import Known

URL_VARIABLE = "MUSTER_WEBHOOK_URL"
SECRET_VARIABLE = "MUSTER_WEBHOOK_SECRET"  # noqa: S105  (its name)
SIGNATURE = "X-Muster-Signature"
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_TIMEOUT_S = 10.0


class NotDelivered(MusterError):
    """The webhook did not take the message."""


class _Stumbled(NotDelivered):
    """It may take it at the next try."""


class Webhook:
    """A webhook. ``send`` tries a few times, and raises ``NotDelivered``."""

    def __init__(self, url: str, secret: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            raise InvalidInput(
                URL_VARIABLE, "is not an https URL", "Plain HTTP is for this computer only."
            )
        if not secret:
            raise InvalidInput(
                SECRET_VARIABLE, "is not set", "The receiver tells by it that we are the sender."
            )
        self._url = url
        self._host = parts.hostname or ""
        self._secret = secret.encode()

    def send(self, problem: Known) -> None:
        """Tell of a problem: that it is there, or that it is over."""
        body = json.dumps(message(problem)).encode()
        for attempt in stamina.retry_context(on=_Stumbled, attempts=3, wait_max=2):
            with attempt:
                self._post(body)

    def _post(self, body: bytes) -> None:
        """Send it once. No error of httpx leaves here: they hold the URL, and are logged."""
        headers = {
            "Content-Type": "application/json",
            SIGNATURE: sign(body, self._secret, int(time.time())),
        }
        try:
            answer = httpx.post(self._url, content=body, headers=headers, timeout=_TIMEOUT_S)
        except httpx.TransportError as error:
            kind = NotDelivered if "CERTIFICATE" in str(error) else _Stumbled
            raise kind(f"The webhook at {self._host} is not reached: {error}.") from None
        if not answer.is_success:
            status = answer.status_code
            kind = _Stumbled if status >= 500 or status == 429 else NotDelivered
            raise kind(f"The webhook at {self._host} answered {status}.")


def from_environment() -> Webhook | None:
    """Return the webhook that the environment names, if it does."""
    url = os.environ.get(URL_VARIABLE)
    return Webhook(url, os.environ.get(SECRET_VARIABLE, "")) if url else None


def sign(body: bytes, secret: bytes, at: int) -> str:
    """Return the signature of a body: HMAC-SHA256 of the time, a point, and the body, in hex."""
    digest = hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def is_signed(body: bytes, secret: bytes, signature: str, *, now: float, age_s: float) -> bool:
    """Tell whether a signature is that of the body, made no longer ago than that. For receivers."""
    at, _, _ = signature.removeprefix("t=").partition(",")
    if not (at.isascii() and at.isdigit() and len(at) < 20) or abs(now - int(at)) > age_s:
        return False
    return hmac.compare_digest(sign(body, secret, int(at)).encode(), signature.encode())


def message(problem: Known) -> dict[str, object]:
    """Return the message as Slack takes it: a plain text, and blocks."""
    over = problem.cleared is not None
    head = f"{'Over' if over else 'Problem'}: {problem.key}"
    since = problem.since.strftime("%Y-%m-%d %H:%M UTC")
    return {
        "text": f"{head}\n{problem.told}",
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": head[:150]}},
            {"type": "section", "text": {"type": "plain_text", "text": problem.told[:3000]}},
            {
                "type": "context",
                "elements": [{"type": "plain_text", "text": f"{problem.kind}, since {since}"}],
            },
        ],
    }
