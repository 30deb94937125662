from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.artifacts import (
    ArtifactMismatch,
    ArtifactStore,
    ArtifactsUnavailable,
)
from muster.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

MIB = 1024 * 1024


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(
        f"file://{tmp_path}/my%20files" if request.param == "file" else "memory://"
    )


async def read(store: ArtifactStore, url: str, **expected: int | str) -> bytes:
    return b"".join([chunk async for chunk in store.get(url, **expected)])


@pytest.mark.anyio
async def test_what_is_put_can_be_got_and_is_described(store: ArtifactStore) -> None:
    artifact = await store.put("job/1/9/a b#ü%.png", b"image")

    assert artifact.size == 5
    assert artifact.sha256 == hashlib.sha256(b"image").hexdigest()
    assert store.holds(artifact.url)
    assert await read(store, artifact.url, size=5, sha256=artifact.sha256) == b"image"


@given(chunks=st.lists(st.binary(max_size=300), max_size=8))
def test_any_chunks_come_back_as_one_file(chunks: list[bytes]) -> None:
    async def round_trip() -> None:
        store = ArtifactStore("memory://")

        async def stream() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

        artifact = await store.put("a", stream())
        content = await read(store, artifact.url, size=artifact.size, sha256=artifact.sha256)
        assert content == b"".join(chunks)

    anyio.run(round_trip)


@pytest.mark.anyio
async def test_a_large_file_streams_in_and_out(store: ArtifactStore) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for number in range(20):
            yield bytes([number]) * MIB

    artifact = await store.put("large", stream())

    assert artifact.size == 20 * MIB
    content = await read(store, artifact.url, size=20 * MIB, sha256=artifact.sha256)
    assert content == b"".join(bytes([number]) * MIB for number in range(20))


@pytest.mark.anyio
async def test_a_file_replaces_its_predecessor(store: ArtifactStore) -> None:
    await store.put("a", b"old and longer")
    artifact = await store.put("a", b"new")

    assert await read(store, artifact.url) == b"new"


@pytest.mark.anyio
async def test_a_broken_stream_leaves_no_file(tmp_path: Path) -> None:
    store = ArtifactStore(f"file://{tmp_path}/files")

    async def stream() -> AsyncIterator[bytes]:
        yield b"x" * 10 * MIB
        raise ConnectionError("the service is gone")

    with pytest.raises(ConnectionError):
        await store.put("job/a", stream())

    with pytest.raises(NotFound):
        await read(store, f"{store.url}/job/a")


@pytest.mark.anyio
async def test_a_cancelled_put_leaves_no_file(store: ArtifactStore) -> None:
    half_way = asyncio.Event()

    async def stream() -> AsyncIterator[bytes]:
        yield b"x" * 10 * MIB
        half_way.set()
        await asyncio.Event().wait()

    putting = asyncio.create_task(store.put("job/a", stream()))
    await half_way.wait()
    putting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await putting
    with pytest.raises(NotFound):
        await read(store, f"{store.url}/job/a")


@pytest.mark.anyio
async def test_a_file_that_was_tampered_with_is_told(tmp_path: Path) -> None:
    store = ArtifactStore(f"file://{tmp_path}")
    artifact = await store.put("a", b"good")
    (tmp_path / "a").write_bytes(b"evil")

    with pytest.raises(ArtifactMismatch, match="SHA-256"):
        await read(store, artifact.url, size=4, sha256=artifact.sha256)


@pytest.mark.anyio
async def test_a_file_of_another_size_is_told(store: ArtifactStore) -> None:
    artifact = await store.put("a", b"good")

    with pytest.raises(ArtifactMismatch, match="has 4 bytes, not 5"):
        await read(store, artifact.url, size=5)


@pytest.mark.anyio
async def test_a_digest_in_capitals_is_the_same_digest(store: ArtifactStore) -> None:
    artifact = await store.put("a", b"good")

    assert await read(store, artifact.url, sha256=artifact.sha256.upper()) == b"good"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/./b",
        "a\\b",
        "a\nb",
        "a\x00",
        "é" * 128,
        "/".join(["a" * 200] * 6),
    ],
)
async def test_a_path_that_is_not_plain_is_refused(store: ArtifactStore, path: str) -> None:
    with pytest.raises(InvalidInput, match="artifact path"):
        await store.put(path, b"x")


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["../secret", "%2e%2e/secret", "a/%2E%2E/%2e%2e/secret", "%2Fetc"])
async def test_a_url_does_not_lead_out_of_the_store(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_text("secret")
    store = ArtifactStore(f"file://{tmp_path}/files")

    with pytest.raises(InvalidInput, match="artifact path"):
        await read(store, f"{store.url}/{path}")


@pytest.mark.anyio
async def test_a_url_of_another_store_is_refused(tmp_path: Path) -> None:
    store = ArtifactStore(f"file://{tmp_path}/files")
    url = f"file://{tmp_path}/files-of-others/a"

    assert not store.holds(url)
    with pytest.raises(InvalidInput, match="is not in this artifact store"):
        await read(store, url)


@pytest.mark.anyio
async def test_storage_that_fails_is_told_without_debug_output(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = ArtifactStore(f"file://{tmp_path}")

    with pytest.raises(ArtifactsUnavailable) as caught:
        await store.put("file/below-a-file", b"x")

    assert str(caught.value).startswith(f"Could not write at file://{tmp_path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "unknown scheme"),
        ("/var/lib/artifacts", "unknown scheme"),
        ("ftp://host/files", "unknown scheme"),
        ("file://files", "does not name a folder"),
        ("file:relative", "does not name a folder"),
        ("s3://key:hunter2@bucket/files", "holds a user, a password or parameters"),
        ("s3://bucket/files?secret=hunter2", "holds a user, a password or parameters"),
        ("s3://bucket/files#hunter2", "holds a user, a password or parameters"),
    ],
)
def test_a_bad_url_is_refused_without_repeating_its_secrets(url: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem) as caught:
        ArtifactStore(url)

    assert str(caught.value).startswith("ARTIFACTS_URL")
    assert "hunter2" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(InvalidInput, match="cannot be opened") as caught:
        ArtifactStore(f"file://{tmp_path}/file/folder")

    assert "\n" not in str(caught.value)


def test_a_store_in_the_cloud_opens_without_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")

    store = ArtifactStore("s3://bucket/files/")

    assert store.url == "s3://bucket/files"
    assert store.holds("s3://bucket/files/a")
