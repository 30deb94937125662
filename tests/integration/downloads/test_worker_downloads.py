"""Downloads by real processes from a real server (failure 4)."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from muster.downloads.settings import ASSET
from support.packages import real_package
from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Get
    from support.releases import ReleaseServer

REPOSITORY = "acme/muster"
RELEASE = f"{REPOSITORY}@v1.0.0"
MIB = 1024 * 1024


@pytest.mark.failure(4)
def test_should_handle_multiple_concurrent_downloads(
    get: Get, releases: ReleaseServer, store_dir: Path
) -> None:
    digest = releases.publish(REPOSITORY, "v1.0.0", ASSET, real_package("1.0.0"))

    # When four workers' processes ask for the package at once
    processes = [get(RELEASE, "--sha256", digest) for _ in range(4)]
    said = [process.communicate(timeout=60)[0] for process in processes]

    # Then each has it, and the server was asked once.
    assert [process.returncode for process in processes] == [0] * 4, said
    folder = store_dir / "unpacked" / f"v1.0.0-{digest[:16]}"
    assert said == [f"{RELEASE} {digest} {folder}\n"] * 4
    asked = [r.path for r in releases.log() if r.path.startswith(f"/{REPOSITORY}")]
    assert asked == [f"/{REPOSITORY}/releases/download/v1.0.0/{ASSET}"]


def test_killed_at_random_moments_it_goes_on_with_what_is_there(
    get: Get, releases: ReleaseServer, store_dir: Path, catalogue: Callable[..., Path]
) -> None:
    content = os.urandom(40 * MIB)
    digest = hashlib.sha256(content).hexdigest()
    environment = {"MODEL_CATALOGUE": str(catalogue(base=content))}
    partial = store_dir / "partial" / f"{digest}.part"
    releases.arm(f"slow={20 * MIB}")
    there: list[int] = []

    # Given twenty tries, each killed somewhere on its way
    for _ in range(20):
        before = there[-1] if there else 0
        more = random.randrange(1, 2 * MIB - 1)
        process = get("base", **environment)
        eventually_blocking(
            lambda: partial.stat().st_size,
            "more of the file is there",
            until=lambda size, least=before + more: size >= least,
            ignoring=(FileNotFoundError,),
            timeout_s=30,
        )
        process.kill()
        process.wait()
        there.append(partial.stat().st_size)
        assert not list((store_dir / "objects").glob("*"))

    # When one is left alone
    releases.disarm()
    last = get("base", **environment)
    assert last.communicate(timeout=60) == (
        f"base {digest} {store_dir / 'objects' / digest}\n",
        None,
    )

    # Then each asked for just what was missing, and the file is what it should be.
    asked = [request.range for request in releases.requests("/files/base")]
    assert asked == [None, *(f"bytes={size}-" for size in there)]
    assert (store_dir / "objects" / digest).read_bytes() == content
    assert releases.requests("/files/base")[-1].sent == len(content) - there[-1]


def test_killed_at_random_moments_never_leaves_a_package_that_is_not_whole(
    get: Get, releases: ReleaseServer, store_dir: Path
) -> None:
    package = real_package("1.0.0")
    digest = releases.publish(REPOSITORY, "v1.0.0", ASSET, package)
    releases.arm(f"slow={len(package)}")

    for _ in range(8):
        process = get(RELEASE, "--sha256", digest)
        with suppress(subprocess.TimeoutExpired):
            process.wait(random.uniform(0.3, 3))
        process.kill()
        process.wait()
    releases.disarm()

    # Whatever was left, the next one verifies and mends it.
    last = get(RELEASE, "--sha256", digest)
    said, _ = last.communicate(timeout=60)
    assert last.returncode == 0, said
    assert "refused" not in said
