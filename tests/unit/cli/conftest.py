"""The command line against a server in this process."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from muster.client import Client
from muster.client.profile import Profile, write_profile
from muster.server.auth import Role
from support.cli import Muster
from support.server import URL, RunningServer, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _nobodys_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Tests see neither the developer's environment nor their profile."""
    for name in ("MUSTER_URL", "MUSTER_TOKEN", "MUSTER_ALLOW_HTTP", "MUSTER_TOKENS_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def muster() -> Muster:
    return Muster()


@pytest.fixture
def server(
    tmp_path: Path, redis_url: str, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningServer]:
    """A server that the profile names, with an operator's token."""
    with running_server(tmp_path, redis_url, queue_name) as server:
        write_profile(Profile(url=URL, token=SecretStr(server.tokens[Role.OPERATE])))
        client = functools.partial(Client, transport=server)
        monkeypatch.setattr("muster.client.Client", client)
        monkeypatch.setattr("muster.cli.checks.Client", client)
        yield server
