"""The Docker engine that the system tier runs on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import docker
from docker.errors import DockerException, ImageNotFound

if TYPE_CHECKING:
    from docker import DockerClient

OWN_BASE = "muster-base"
OFFICIAL_BASE = "python:3.13-slim"
OFFICIAL_REDIS = "redis:7.4"
NO_ENGINE = 3
"""What pytest exits with where no fleet can be started."""

_TIMEOUT_S = 120


class EngineMissing(Exception):
    """There is no Docker engine, or no image to begin with."""


def connect() -> DockerClient:
    """Return a client of the engine. Raises ``EngineMissing``, which says how to get one."""
    try:
        client = docker.from_env(timeout=_TIMEOUT_S)
        client.ping()
    except DockerException as error:
        place = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        raise EngineMissing(
            f"No Docker engine answers at {place}. Install and start one (on Debian: "
            f"apt-get install docker.io), or set DOCKER_HOST. Docker's client says: {error}"
        ) from None
    return client


def connect_with_images() -> DockerClient:
    """Return a client of an engine that has all to begin with. Raises ``EngineMissing``."""
    client = connect()
    base_image(client)
    redis_image(client)
    return client


def base_image(client: DockerClient) -> str:
    """Return the image with Python that ours is built on, which is here afterwards.

    It is the one that MUSTER_BASE_IMAGE names, else the one that ``envs/base-image`` made, else
    the official one.
    """
    return _present(client, os.environ.get("MUSTER_BASE_IMAGE") or _default(client, OFFICIAL_BASE))


def redis_image(client: DockerClient) -> str:
    """Return the image with redis-server, chosen likewise (MUSTER_REDIS_IMAGE)."""
    chosen = os.environ.get("MUSTER_REDIS_IMAGE") or _default(client, OFFICIAL_REDIS)
    return _present(client, chosen)


def _default(client: DockerClient, official: str) -> str:
    return OWN_BASE if _is_here(client, OWN_BASE) else official


def _present(client: DockerClient, image: str) -> str:
    if not _is_here(client, image):
        try:
            client.images.pull(image)
        except DockerException as error:
            raise EngineMissing(
                f"The image {image} is not here and cannot be pulled ({error}). Where no registry "
                "is reached, run `envs/base-image`, which makes one from Debian's packages."
            ) from None
    return image


def _is_here(client: DockerClient, image: str) -> bool:
    try:
        client.images.get(image)
    except ImageNotFound:
        return False
    return True
