"""Why an attempt on ComfyUI fails, in words that programs can test (``JobError.kind``)."""

from __future__ import annotations

from typing import Any

from muster.jobs.model import JobError
from muster.worker.connectors.base import JobFailed

INVALID_PAYLOAD = "invalid_payload"
PROMPT_REFUSED = "prompt_refused"
EXECUTION_ERROR = "execution_error"
INTERRUPTED = "interrupted"
SERVICE_LOST = "service_lost"
SERVICE_ERROR = "service_error"
INPUT_UNAVAILABLE = "input_unavailable"
INPUT_MISMATCH = "input_mismatch"
OUTPUT_MISSING = "output_missing"
OUTPUT_REFUSED = "output_refused"
ARTIFACTS_UNAVAILABLE = "artifacts_unavailable"


def failed(kind: str, message: str, *, retryable: bool = True, **details: Any) -> JobFailed:
    """Return the error to raise. Not ``retryable`` is what another attempt cannot cure."""
    error = JobError(kind=kind, message=message, details=details)
    return JobFailed(error, retryable=retryable, lost=kind == SERVICE_LOST)
