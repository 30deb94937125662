"""What an environment declares to have is looked for. Declared and missing is a failure."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import httpx
import pynvml

from muster.errors import MusterError
from muster.matrix.environments.model import Capability

if TYPE_CHECKING:
    from muster.matrix.environments.model import Environment

DOCKER_HOST = "unix:///var/run/docker.sock"
ANSWER_S = 10
OF_THE_COMPUTER = (Capability.DOCKER, Capability.GPUS)
OF_THE_SYSTEM = (Capability.TLS, Capability.SENTINEL)


class CapabilityMissing(MusterError):
    """The environment declares a capability that is not there."""


def check_computer(environment: Environment) -> list[str]:
    """Look for what this computer must have, and say what was found.

    Raises ``CapabilityMissing``.
    """
    probes = {Capability.DOCKER: _docker, Capability.GPUS: _gpus}
    found = []
    for capability in OF_THE_COMPUTER:
        if capability in environment.capabilities:
            try:
                found.append(f"{capability}: {probes[capability]()}")
            except (httpx.HTTPError, pynvml.NVMLError, LookupError) as error:
                raise _missing(environment, capability, str(error)) from None
    return found


def check_system(environment: Environment, *, server_url: str, redis_url: str | None) -> list[str]:
    """Look for what the system under test must have, in the addresses by which it is reached.

    Raises ``CapabilityMissing``. ``redis_url`` is None where tests do not reach Redis.
    """
    redis_scheme = None if redis_url is None else redis_url.partition("://")[0]
    if Capability.TLS in environment.capabilities:
        if not server_url.startswith("https:"):
            raise _missing(environment, Capability.TLS, f"its server is at {server_url}")
        if redis_scheme is not None and not redis_scheme.startswith("rediss"):
            raise _missing(environment, Capability.TLS, f"its Redis is reached by {redis_scheme}:")
    if Capability.SENTINEL in environment.capabilities and (
        redis_scheme is not None and not redis_scheme.endswith("+sentinel")
    ):
        raise _missing(environment, Capability.SENTINEL, f"its Redis is reached by {redis_scheme}:")
    return [f"{each}: in use" for each in OF_THE_SYSTEM if each in environment.capabilities]


def _missing(environment: Environment, capability: Capability, why: str) -> CapabilityMissing:
    return CapabilityMissing(
        f"The environment {environment.name} declares {capability}, which is missing: {why}. "
        "Provide it, or choose another environment: tests that need it are not skipped."
    )


def _docker() -> str:
    address = os.environ.get("DOCKER_HOST", DOCKER_HOST)
    scheme, _, place = address.partition("://")
    try:
        if scheme == "unix":
            with socket.socket(socket.AF_UNIX) as probe:  # httpx leaves one open that is refused
                probe.settimeout(ANSWER_S)
                probe.connect(place)
        return f"engine {_engine_version(scheme, place)}"
    except (OSError, httpx.HTTPError) as error:
        raise LookupError(f"no engine answers at {address} ({error})") from None


def _engine_version(scheme: str, place: str) -> str:
    transport = httpx.HTTPTransport(uds=place if scheme == "unix" else None)
    base = "http://docker" if scheme == "unix" else f"http://{place}"
    with httpx.Client(transport=transport, base_url=base, timeout=ANSWER_S) as client:
        return str(client.get("/version").raise_for_status().json()["Version"])


def _gpus() -> str:
    pynvml.nvmlInit()
    try:
        count = pynvml.nvmlDeviceGetCount()
    finally:
        pynvml.nvmlShutdown()
    if count == 0:
        raise LookupError("the NVIDIA driver finds none")
    return f"{count} found"
