"""A user's own package with a connector: installed as pip does it, into a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MODULE = '''\
import asyncio

from muster.worker.connectors.base import ServiceNotReady


class Shouting:
    """Says loudly what the payload says."""

    service = "shouting"

    @classmethod
    def from_settings(cls, settings):
        return cls(settings.machine_id)

    def __init__(self, machine_id):
        self.machine_id = machine_id

    async def ready(self):
        pass

    async def run(self, context):
        await asyncio.sleep(0)
        await context.progress(0.5, "drawing breath")
        return {"said": context.request.payload["text"].upper(), "on": self.machine_id}

    async def close(self):
        pass
'''
METADATA = "Metadata-Version: 2.1\nName: muster-shouting\nVersion: 1.0\n"
ENTRY_POINTS = """\
[muster.connectors]
shouting = muster_shouting:Shouting
broken = muster_shouting_that_is_missing:Nothing
"""


def install_shouting(folder: Path) -> None:
    """Put the package into a folder; on ``sys.path``, importlib.metadata finds it there."""
    (folder / "muster_shouting.py").write_text(MODULE)
    info = folder / "muster_shouting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
