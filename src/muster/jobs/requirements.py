"""Matching jobs to workers: requirement classes, signatures, and what is unmet.

All jobs that need the same of a worker form one requirement class, all workers that offer the same
share one signature. Redis keeps which classes a signature can run, so that a claim looks at classes
and never at the backlog. The rule stands twice: here, for people's questions, and in
``lua/lib/matching.lua``, where claims are decided; a property test holds them together.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muster.jobs.model import Capabilities, Requirements


def canonical(service: str, needs: Requirements | Capabilities) -> str:
    """Return the one JSON text of what is needed or offered."""
    value = {
        "service": service,
        "models": sorted(needs.models),
        "vram_mib": needs.vram_mib,
        "labels": dict(sorted(needs.labels.items())),
    }
    return json.dumps(value, separators=(",", ":"))


def short_hash(text: str) -> str:
    """Return 16 hexadecimal characters that name a canonical text."""
    return blake2b(text.encode(), digest_size=8).hexdigest()


def unmet(service: str, needs: Requirements, offer: Capabilities) -> list[str]:
    """Return which needs the offer does not meet, in words; empty when it can run the job."""
    reasons = []
    if service != offer.service:
        reasons.append(f"service {service} (it has {offer.service})")
    if needs.vram_mib > offer.vram_mib:
        reasons.append(f"{needs.vram_mib} MiB of VRAM (it has {offer.vram_mib})")
    reasons += [f"model {model}" for model in sorted(needs.models - offer.models)]
    for name, value in sorted(needs.labels.items()):
        has = offer.labels.get(name)
        if has != value:
            reasons.append(f"label {name}={value} (it has {has or 'none'})")
    return reasons
