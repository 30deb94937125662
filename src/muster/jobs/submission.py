"""From requests to the arguments of the submit script, refusing what is over the limits."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from pydantic_core import PydanticSerializationError, from_json

from muster.errors import InvalidInput
from muster.jobs.requirements import canonical, short_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muster.jobs.limits import Limits
    from muster.jobs.model import JobRequest


def encode_submission(
    ids: Sequence[str], requests: Sequence[JobRequest], limits: Limits
) -> list[str | bytes | int]:
    """Return the script's arguments, grouped by requirement class; see ``lua/submit.lua``.

    Raises ``InvalidInput`` for a request that is too large, or whose payload is not JSON.
    """
    groups: dict[str, list[str | bytes | int]] = {}
    class_of_key: dict[str, str] = {}
    for place, (job_id, request) in enumerate(zip(ids, requests, strict=True), start=1):
        requirements = canonical(request.service, request.requirements)
        if request.idempotency_key:
            # The first of a key makes the job, so those that repeat it must come behind it.
            requirements = class_of_key.setdefault(request.idempotency_key, requirements)
        job = _encode(place, job_id, request, limits)
        groups.setdefault(requirements, []).extend(job)
    args: list[str | bytes | int] = [limits.classes, len(groups), len(requests)]
    for requirements, jobs in groups.items():
        args += [short_hash(requirements), requirements, len(jobs) // 7, *jobs]
    return args


def _encode(
    place: int, job_id: str, request: JobRequest, limits: Limits
) -> list[str | bytes | int]:
    spec = _spec(request)
    if len(spec) > limits.payload_bytes:
        raise InvalidInput(
            "payload",
            f"is too large: {len(spec)} bytes of JSON, {limits.payload_bytes} are allowed",
            "Put large inputs in object storage and submit their URLs.",
        )
    key = request.idempotency_key
    return [
        place,
        job_id,
        spec,
        request.priority,
        int(request.not_before.timestamp() * 1000) if request.not_before else 0,
        _limits(request),
        blake2b(key.encode(), digest_size=16).hexdigest() if key else "",
    ]


def _limits(request: JobRequest) -> str:
    numbers = [
        request.max_failed,
        request.max_lost,
        round(request.timeout_s * 1000),
        round(request.backoff_s * 1000),
        *([] if request.keep_s is None else [round(request.keep_s * 1000)]),
    ]
    return " ".join(map(str, numbers))


def _spec(request: JobRequest) -> bytes:
    """Return the request as JSON that can be read again: no NaN, not nested too deep."""
    try:
        spec = request.model_dump_json(exclude_defaults=True).encode()
        from_json(spec, allow_inf_nan=False)
    except (PydanticSerializationError, ValueError) as error:
        raise InvalidInput(
            "payload",
            f"is not JSON that can be stored: {error}",
            "Use objects, lists, texts, finite numbers, true, false and null, not nested too deep.",
        ) from None
    return spec
