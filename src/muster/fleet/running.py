"""Which release the running code is: asked of the code itself, not of what it was told."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import muster
from muster.fleet.model import ReleaseId


def running_release() -> ReleaseId:
    """Return the release that this very code was unpacked from, or what is installed here.

    A worker package's folder holds ``release.json`` beside ``site-packages/``; see
    ``muster.downloads.packages``.
    """
    note = Path(muster.__file__).parents[2] / "release.json"
    if note.exists():
        return ReleaseId.model_validate(json.loads(note.read_text(encoding="utf-8")))
    return installed_release()


def installed_release() -> ReleaseId:
    """Return what is installed beside this Python; it has no digest."""
    return ReleaseId(name="muster-fleet", version=version("muster-fleet"))
