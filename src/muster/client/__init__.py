"""The Python client of a Muster server, for blocking code and for asyncio.

>>> with Client() as muster:                                        # doctest: +SKIP
...     job = muster.submit(JobRequest(service="comfyui", payload={"prompt": graph}))
...     print(muster.wait(job.id).result)
"""

from __future__ import annotations

from muster.client.asynchronous import AsyncClient
from muster.client.blocking import Client
from muster.client.errors import Refused, Rejected, ServerFailed, ServerUnavailable, WaitTimeout
from muster.client.model import QueueStatus
from muster.jobs.model import Job, JobRequest, JobState, Requirements, Submitted

__all__ = [
    "AsyncClient",
    "Client",
    "Job",
    "JobRequest",
    "JobState",
    "QueueStatus",
    "Refused",
    "Rejected",
    "Requirements",
    "ServerFailed",
    "ServerUnavailable",
    "Submitted",
    "WaitTimeout",
]
