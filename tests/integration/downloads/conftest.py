"""Real processes that fetch into one store, and whoever kills them."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.releases import ReleaseServer

    Get = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def releases(serve_releases: Callable[..., ReleaseServer]) -> ReleaseServer:
    return serve_releases()


@pytest.fixture
def store_dir(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def get(releases: ReleaseServer, store_dir: Path) -> Iterator[Get]:
    """Start ``muster store get`` in a process of its own."""
    with ExitStack() as stack:

        def get(*arguments: str, **environment: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-m", "muster.cli", "store", "get", *arguments],
                env={
                    **os.environ,
                    "MUSTER_STORE_DIR": str(store_dir),
                    "RELEASE_HOST": releases.url,
                    **environment,
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            assert process.stdout
            stack.callback(process.stdout.close)
            return process

        yield get


@pytest.fixture
def catalogue(releases: ReleaseServer, tmp_path: Path) -> Callable[..., Path]:
    """Serve models of these contents by name, and write the catalogue that lists them."""

    def write(**models: bytes) -> Path:
        entries = []
        for name, content in models.items():
            sha256 = releases.put(name, content)
            entries.append(
                f'[[model]]\nname = "{name}"\nurl = "{releases.url}/files/{name}"\n'
                f'sha256 = "{sha256}"\nsize = {len(content)}\n'
            )
        file = tmp_path / "models.toml"
        file.write_text("\n".join(entries))
        return file

    return write
