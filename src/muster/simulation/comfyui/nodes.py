"""The node classes that the simulator knows: those of ComfyUI's default workflow, and a few."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from muster.simulation.comfyui.png import SIGNATURE, make_png

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from muster.simulation.comfyui.options import Folders, Options

SAMPLERS = ["euler", "euler_ancestral", "heun", "dpmpp_2m", "dpmpp_sde", "ddim", "uni_pc"]
SCHEDULERS = ["normal", "karras", "exponential", "sgm_uniform", "simple", "ddim_uniform"]
MAX_SEED = 2**64 - 1

Input = tuple[str | list[str], dict[str, Any]]
"""An input's type (or the list of its values) and its limits, as ``/object_info`` tells them."""


class UnidentifiedImageError(Exception):
    """A file is not an image."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a node gets to run: its inputs, the folders, and ``step``, to be awaited once a step."""

    node_id: str
    signature: str
    inputs: Mapping[str, Any]
    folders: Folders
    step: Callable[[int, int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Result:
    """What a node returns: a value per output slot, and for output nodes what the user sees."""

    values: tuple[Any, ...] = ()
    ui: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class NodeType:
    """A node class. ``inputs`` are all required."""

    name: str
    run: Callable[[Call], Awaitable[Result]]
    inputs: Mapping[str, Input] = field(default_factory=dict)
    returns: tuple[str, ...] = ()
    output: bool = False

    def info(self) -> dict[str, Any]:
        """Return what ``/object_info`` says of the class."""
        return {
            "input": {"required": dict(self.inputs)},
            "input_order": {"required": list(self.inputs)},
            "output": list(self.returns),
            "output_is_list": [False] * len(self.returns),
            "output_name": list(self.returns),
            "name": self.name,
            "display_name": self.name,
            "description": "",
            "python_module": "nodes",
            "category": "simulation",
            "output_node": self.output,
        }


def node_types(options: Options) -> dict[str, NodeType]:
    """Return the node classes by name; the files to choose from are those of now."""
    images = sorted(path.name for path in options.folders.input.iterdir() if path.is_file())
    types = [
        NodeType(
            "CheckpointLoaderSimple",
            _load_checkpoint,
            {"ckpt_name": (list(options.checkpoints), {})},
            ("MODEL", "CLIP", "VAE"),
        ),
        NodeType(
            "CLIPTextEncode",
            _encode_text,
            {"text": ("STRING", {"multiline": True}), "clip": ("CLIP", {})},
            ("CONDITIONING",),
        ),
        NodeType("EmptyLatentImage", _empty_latent, _LATENT_INPUTS, ("LATENT",)),
        NodeType("KSampler", _sample, _SAMPLER_INPUTS, ("LATENT",)),
        NodeType("VAEDecode", _decode, {"samples": ("LATENT", {}), "vae": ("VAE", {})}, ("IMAGE",)),
        NodeType("LoadImage", _load_image, {"image": (images, {"image_upload": True})}, ("IMAGE",)),
        NodeType(
            "SaveImage",
            _save_image,
            {"images": ("IMAGE", {}), "filename_prefix": ("STRING", {"default": "ComfyUI"})},
            output=True,
        ),
        NodeType("PreviewImage", _preview_image, {"images": ("IMAGE", {})}, output=True),
        NodeType("PreviewAny", _preview_any, {"source": ("*", {})}, output=True),
    ]
    return {kind.name: kind for kind in types}


_LATENT_INPUTS: dict[str, Input] = {
    "width": ("INT", {"default": 512, "min": 16, "max": 16384}),
    "height": ("INT", {"default": 512, "min": 16, "max": 16384}),
    "batch_size": ("INT", {"default": 1, "min": 1, "max": 4096}),
}
_SAMPLER_INPUTS: dict[str, Input] = {
    "model": ("MODEL", {}),
    "seed": ("INT", {"default": 0, "min": 0, "max": MAX_SEED}),
    "steps": ("INT", {"default": 20, "min": 1, "max": 10000}),
    "cfg": ("FLOAT", {"default": 8.0, "min": 0.0, "max": 100.0}),
    "sampler_name": (SAMPLERS, {}),
    "scheduler": (SCHEDULERS, {}),
    "positive": ("CONDITIONING", {}),
    "negative": ("CONDITIONING", {}),
    "latent_image": ("LATENT", {}),
    "denoise": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0}),
}


async def _load_checkpoint(call: Call) -> Result:
    name = call.inputs["ckpt_name"]
    return Result((name, name, name))


async def _encode_text(call: Call) -> Result:
    return Result((call.inputs["text"],))


async def _empty_latent(call: Call) -> Result:
    count = int(call.inputs["batch_size"])
    return Result(([f"{call.signature}-{index}" for index in range(count)],))


async def _sample(call: Call) -> Result:
    steps = int(call.inputs["steps"])
    for step in range(1, steps + 1):
        await call.step(step, steps)
    return Result(([f"{call.signature}-{latent}" for latent in call.inputs["latent_image"]],))


async def _decode(call: Call) -> Result:
    return Result(([make_png(latent) for latent in call.inputs["samples"]],))


async def _load_image(call: Call) -> Result:
    path = call.folders.input / call.inputs["image"]
    content = path.read_bytes()
    if not content.startswith((SIGNATURE, b"\xff\xd8\xff", b"RIFF")):
        raise UnidentifiedImageError(f"cannot identify image file {str(path)!r}")
    return Result(([content],))


async def _save_image(call: Call) -> Result:
    prefix = str(call.inputs["filename_prefix"])
    return _saved(call.inputs["images"], call.folders.output, prefix, "output")


async def _preview_image(call: Call) -> Result:
    prefix = f"ComfyUI_temp_{call.signature[:5]}"
    return _saved(call.inputs["images"], call.folders.temp, prefix, "temp")


async def _preview_any(call: Call) -> Result:
    return Result(ui={"text": [str(call.inputs["source"])]})


def _saved(images: list[bytes], folder: Path, prefix: str, kind: str) -> Result:
    """Write images as ComfyUI does: ``prefix_00001_.png``, counting on from what is there."""
    *subfolders, name = prefix.split("/")
    target = folder.joinpath(*subfolders)
    if not target.resolve().is_relative_to(folder.resolve()):
        raise RuntimeError("Saving image outside the output folder is not allowed.")
    target.mkdir(parents=True, exist_ok=True)
    form = re.compile(rf"{re.escape(name)}_([0-9]+)_\.png")
    taken = [int(match[1]) for path in target.iterdir() if (match := form.fullmatch(path.name))]
    saved = []
    for number, image in enumerate(images, start=max(taken, default=0) + 1):
        filename = f"{name}_{number:05}_.png"
        (target / filename).write_bytes(image)
        saved.append({"filename": filename, "subfolder": "/".join(subfolders), "type": kind})
    return Result(ui={"images": saved})
