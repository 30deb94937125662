"""The Docker engine that the system tier runs on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import docker
from docker.errors import DockerException, ImageNotFound

if TYPE_CHECKING:
    from docker import DockerClient

OWN_BASE = "muster-base"
OWN_PROMETHEUS = "muster-prometheus"
OFFICIAL_BASE = "python:3.13-slim"
OFFICIAL_REDIS = "redis:7.4"
OFFICIAL_PROMETHEUS = "prom/prometheus:v3.4.1"
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
    return _chosen(client, "MUSTER_BASE_IMAGE", OWN_BASE, OFFICIAL_BASE)


def redis_image(client: DockerClient) -> str:
    """Return the image with redis-server, chosen likewise (MUSTER_REDIS_IMAGE)."""
    return _chosen(client, "MUSTER_REDIS_IMAGE", OWN_BASE, OFFICIAL_REDIS)


def prometheus_image(client: DockerClient) -> str:
    """Return the image with Prometheus, chosen likewise (MUSTER_PROMETHEUS_IMAGE)."""
    return _chosen(client, "MUSTER_PROMETHEUS_IMAGE", OWN_PROMETHEUS, OFFICIAL_PROMETHEUS)


def _chosen(client: DockerClient, variable: str, own: str, official: str) -> str:
    image = os.environ.get(variable) or (own if _is_here(client, own) else official)
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
