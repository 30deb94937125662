"""Builds the machine's image, once for each state of the sources. ``nox -s image`` runs this."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docker.errors import APIError, BuildError, ImageNotFound
from filelock import FileLock
from packaging.requirements import Requirement

from support.system.engine import base_image, connect

if TYPE_CHECKING:
    from docker import DockerClient

ROOT = Path(__file__).parents[3]
NAME = "muster-machine"
KEPT = timedelta(days=1)
_LOCK = ROOT / "requirements" / "image.txt"
_MEASURING = ROOT / "requirements" / "system.txt"
_ONE_BUILDS = ROOT / "results" / "image.lock"
_DOCKERFILE = ROOT / "envs" / "machine" / "Dockerfile"
_INSTALLER, _MEASURER = "pip", "coverage"
_STAGE = "muster.stage"
"""The label of what the first stage leaves behind, wheels and all."""

# What decides which wheels fit, asked of the base itself: its Python need not be ours.
_DESCRIBE = """
import json, os, platform, sys
print(json.dumps({
    "glibc": platform.libc_ver()[1],
    "markers": {
        "implementation_name": sys.implementation.name,
        "implementation_version": platform.python_version(),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "platform_python_implementation": platform.python_implementation(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    },
}))
"""


class ImageNotBuilt(Exception):
    """The machine's image could not be built."""


def machine_image(client: DockerClient, *, measured: bool = False) -> str:
    """Return the tag of the image of these sources, built if it is not there yet.

    Of the processes of a parallel run one builds it, and the others wait. ``measured`` wants one
    whose programs can measure their coverage; otherwise it has nothing for that.
    """
    base = base_image(client)
    tag = f"{NAME}:{_digest(str(client.images.get(base).id))}{'-measured' if measured else ''}"
    _ONE_BUILDS.parent.mkdir(exist_ok=True)
    with FileLock(_ONE_BUILDS):
        try:
            client.images.get(tag)
        except ImageNotFound:
            with tempfile.TemporaryDirectory(prefix="muster-image-") as folder:
                _gather(client, base, Path(folder), measured=measured)
                _build(client, base, Path(folder), tag)
            _forget_old(client)
    return tag


def _forget_old(client: DockerClient) -> None:
    """Remove images of sources as they were long ago, unless something runs from them."""
    for image in client.images.list(NAME):
        created = datetime.fromisoformat(str(image.attrs["Created"])[:19]).replace(tzinfo=UTC)
        if datetime.now(UTC) - created > KEPT:
            for tag in image.tags:
                with suppress(APIError):
                    client.images.remove(tag)


def _digest(base_id: str) -> str:
    """Name the state of everything that goes into the image."""
    digest = sha256(base_id.encode())
    sources = sorted((ROOT / "src").rglob("*"))
    for file in (
        ROOT / "pyproject.toml",
        ROOT / "README.md",
        _LOCK,
        _MEASURING,
        _DOCKERFILE,
        *sources,
    ):
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(f"{file.relative_to(ROOT)}\0{file.stat().st_size}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _gather(client: DockerClient, base: str, context: Path, *, measured: bool) -> None:
    """Put into the folder what the Dockerfile copies: wheels, and which of them to install."""
    described = json.loads(
        client.containers.run(base, ["python3", "-c", _DESCRIBE], remove=True, network_mode="none")
    )
    markers = described["markers"]
    wanted = _applying(_LOCK.read_text(encoding="utf-8"), markers)
    if measured:
        wanted[_MEASURER] = _applying(_MEASURING.read_text(encoding="utf-8"), markers)[_MEASURER]
    wheels = context / "wheels"
    (context / "download.txt").write_text("\n".join(wanted.values()), encoding="utf-8")
    _pip("download", *_target(described), "--require-hashes", "--no-deps",
         "--requirement", str(context / "download.txt"), "--dest", str(wheels))  # fmt: skip
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(ROOT))
    del wanted[_INSTALLER]
    (context / "requirements.txt").write_text("\n".join(wanted.values()), encoding="utf-8")
    shutil.copy(_DOCKERFILE, context / "Dockerfile")


def _applying(lock: str, markers: dict[str, str]) -> dict[str, str]:
    """Return the lock's requirements that apply where these markers do, pinned and hashed.

    Their own markers are left out: pip would judge them by the Python that runs it, which is not
    the one that they are for.
    """
    applying = {}
    for line in lock.replace("\\\n", " ").splitlines():
        text, separator, hashes = line.partition("--hash")
        if not separator:
            continue
        requirement = Requirement(text.strip())
        if requirement.marker is None or requirement.marker.evaluate({"extra": "", **markers}):
            pinned = f"{requirement.name}{requirement.specifier}"
            applying[requirement.name] = f"{pinned} {separator}{hashes}"
    return applying


def _target(described: dict[str, Any]) -> list[str]:
    """Return pip's options for wheels that run in the base."""
    markers = described["markers"]
    version, machine = markers["python_version"], markers["platform_machine"]
    newest = int(described["glibc"].split(".")[1])
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, 4, -1)]
    platforms += [f"{name}_{machine}" for name in ("manylinux2014", "manylinux2010", "manylinux1")]
    abis = [f"cp{version.replace('.', '')}", "abi3", "none"]
    return [
        "--only-binary=:all:", f"--python-version={version}", "--implementation=cp",
        *(f"--abi={abi}" for abi in abis), *(f"--platform={platform}" for platform in platforms),
    ]  # fmt: skip


def _pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    if done.returncode:
        raise ImageNotBuilt(f"`pip {arguments[0]}` failed:\n{done.stderr.strip()}")


def _build(client: DockerClient, base: str, context: Path, tag: str) -> None:
    try:
        client.images.build(
            path=str(context), buildargs={"BASE_IMAGE": base}, tag=tag, rm=True, forcerm=True
        )
    except BuildError as error:
        said = "".join(part.get("stream", "") for part in error.build_log)
        raise ImageNotBuilt(f"{error}\n{said.strip()}") from None
    finally:
        client.images.prune(filters={"dangling": True, "label": _STAGE})


def main() -> None:
    """Build the image and name it as the compose files do."""
    client = connect()
    tag = machine_image(client)
    client.images.get(tag).tag(NAME)
    print(f"{NAME} is {tag}")


if __name__ == "__main__":
    main()
