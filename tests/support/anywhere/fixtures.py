"""The one ``fleet`` fixture: the same test bodies run on whatever ``--env`` names."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from muster.client.target import ClientSettings
from muster.matrix.environments.capabilities import check_system
from muster.matrix.environments.model import Source
from muster.matrix.environments.rails import Deed
from support.anywhere.fleet import ExternalBackend, Fleet, profile_of
from support.anywhere.processes import process_fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muster.matrix.environments.model import Environment
    from muster.matrix.environments.story import Story
    from support.anywhere.fleet import Backend


@pytest.fixture(scope="session")
def backend(
    environment: Environment, story: Story, request: pytest.FixtureRequest
) -> Iterator[Backend]:
    """The fleet of the environment, up and ready, with all that the environment declares."""
    with _running(environment, request) as running:
        if environment.source is not Source.EXTERNAL:
            looking = Fleet(environment, Deed(), running)
            assert environment.machines.count
            looking.until_ready(environment.machines.count, environment.target("machine_ready_s"))
        for line in check_system(
            environment, server_url=running.profile.url, redis_url=running.redis_url
        ):
            story.note(line)
        story.note(f"the fleet was at {running.profile.url}")
        yield running


@contextmanager
def _running(environment: Environment, request: pytest.FixtureRequest) -> Iterator[Backend]:
    if environment.source is Source.EXTERNAL:
        settings = ClientSettings.load()
        assert settings.url
        assert settings.token
        token = settings.token.get_secret_value()
        yield ExternalBackend(
            profile_of(settings.url, token, settings.ca_file), os.environ.get("REDIS_URL")
        )
        return
    if environment.source is Source.PROCESSES:
        assert environment.machines.count
        assert environment.machines.gpus
        with process_fleet(
            environment.name, count=environment.machines.count, gpus=environment.machines.gpus
        ) as processes:
            yield processes
        return
    from support.anywhere.containers import container_fleet

    engine, image = request.getfixturevalue("engine"), request.getfixturevalue("image")
    with container_fleet(engine, image, environment) as containers:
        yield containers


@pytest.fixture
def fleet(
    environment: Environment, deed: Deed, backend: Backend, request: pytest.FixtureRequest
) -> Fleet:
    """The fleet, if the live system says that it is the environment and allows this test."""
    given = Fleet(environment, deed, backend, request.config.getoption("--override-rails"))
    given.check()
    return given
