"""How one simulated ComfyUI is set up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CHECKPOINTS = ("sd_xl_base_1.0.safetensors", "v1-5-pruned-emaonly.safetensors")


@dataclass(frozen=True, slots=True)
class Folders:
    """Where files are kept. Two instances must never share them (they would share file names)."""

    output: Path
    temp: Path
    input: Path

    @classmethod
    def under(cls, base: Path) -> Folders:
        """Return ComfyUI's own layout in ``base``."""
        return cls(output=base / "output", temp=base / "temp", input=base / "input")

    def by_type(self, kind: str) -> Path | None:
        """Return the folder that the API calls ``output``, ``temp`` or ``input``."""
        return {"output": self.output, "temp": self.temp, "input": self.input}.get(kind)


@dataclass(frozen=True, slots=True)
class Options:
    """``step_time`` is how many seconds a sampling step, or a node without steps, takes."""

    folders: Folders
    step_time: float = 0.01
    checkpoints: tuple[str, ...] = CHECKPOINTS
    gpu: int = 0
    previews: bool = True
