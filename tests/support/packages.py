"""Worker packages as ``nox -s package`` makes them, from what is installed beside the tests."""

from __future__ import annotations

import io
import re
from functools import cache
from importlib.metadata import Distribution, distribution
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

import muster

_SOURCE = Path(muster.__file__).parent
_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")
_OPTIONAL = "extra =="


@cache
def real_package(version: str) -> bytes:
    """Return a package of this very Muster, which says that it is ``version``."""
    return package_of(version, {})


def package_of(version: str, changed: dict[str, str]) -> bytes:
    """Return a package in which some of Muster's files say something else."""
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_STORED) as package:
        for file in sorted(_SOURCE.rglob("*")):
            inside = file.relative_to(_SOURCE).as_posix()
            if file.is_file() and "__pycache__" not in inside:
                text = changed.get(inside) or file.read_bytes()
                package.writestr(f"site-packages/muster/{inside}", text)
        for name, content in _own_metadata(version).items():
            package.writestr(f"site-packages/muster_fleet-{version}.dist-info/{name}", content)
        for needed in _needed_by("muster-fleet"):
            for path in needed.files or []:
                located = Path(str(needed.locate_file(path)))
                if ".." not in path.parts and located.is_file():
                    package.writestr(f"site-packages/{path.as_posix()}", located.read_bytes())
    return buffer.getvalue()


def _own_metadata(version: str) -> dict[str, str]:
    own = distribution("muster-fleet")
    return {
        "METADATA": f"Metadata-Version: 2.1\nName: muster-fleet\nVersion: {version}\n",
        "entry_points.txt": own.read_text("entry_points.txt") or "",
    }


def _needed_by(name: str) -> list[Distribution]:
    """Return the distributions that are installed for one, without what only extras need."""
    found: dict[str, Distribution] = {}
    waiting = [name]
    while waiting:
        for line in distribution(waiting.pop()).requires or []:
            required = _REQUIREMENT.match(line)
            if required is None or _OPTIONAL in line:
                continue
            wanted = required[0].lower().replace("_", "-")
            try:
                needed = distribution(wanted)
            except ModuleNotFoundError:  # for another platform or Python
                continue
            if wanted not in found:
                found[wanted] = needed
                waiting.append(wanted)
    return list(found.values())
