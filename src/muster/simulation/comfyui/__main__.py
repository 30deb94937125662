"""The command line of the simulator: ``python -m muster.simulation.comfyui --port 8188``."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from platformdirs import user_cache_path

from muster.errors import InvalidInput
from muster.simulation.comfyui.app import create_app
from muster.simulation.comfyui.faults import FAULTS, parse
from muster.simulation.comfyui.options import CHECKPOINTS, Folders, Options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Server(uvicorn.Server):
    """A server that SIGTERM ends at once, in the middle of whatever it does: as ComfyUI's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to Python's defaults."""
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until killed. Ctrl-C ends it with exit code 0."""
    given = _parser().parse_args(arguments)
    base = given.base_directory or user_cache_path("muster") / "comfyui-simulator" / str(given.port)
    defaults = Folders.under(base)
    options = Options(
        folders=Folders(
            output=given.output_directory or defaults.output,
            # ComfyUI wipes a folder "temp" in the one that is given, never that one itself.
            temp=given.temp_directory / "temp" if given.temp_directory else defaults.temp,
            input=given.input_directory or defaults.input,
        ),
        step_time=given.step_time,
        checkpoints=tuple(given.checkpoint or CHECKPOINTS),
        gpu=given.gpu,
        previews=given.preview_method != "none",
    )
    try:
        faults = [parse(text) for text in given.fault]
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    app = create_app(options)
    for fault in faults:
        app.state.executor.faults.arm(fault)
    time.sleep(given.start_delay)
    config = uvicorn.Config(
        app,
        host=given.listen,
        port=given.port,
        ws="websockets-sansio",
        log_level="warning",
        lifespan="on",
    )
    print(f"Simulated ComfyUI of GPU {given.gpu}: http://{given.listen}:{given.port}", flush=True)
    try:
        asyncio.run(Server(config).serve())
    except KeyboardInterrupt:
        return 0
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m muster.simulation.comfyui",
        description="A server that behaves like ComfyUI 0.3.64, without a GPU.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="faults, KIND[=VALUE][*TIMES], for good unless TIMES is given:\n"
        + "\n".join(f"  {line}" for line in FAULTS.values())
        + '\n\nWhile it runs: POST /simulation/faults {"fault": "raise=KSampler*1"} arms one,\n'
        "DELETE /simulation/faults disarms all, GET /simulation tells what it did.",
    )
    add = parser.add_argument
    add("--listen", default="127.0.0.1", metavar="ADDRESS", help="address (default %(default)s)")
    add("--port", type=int, default=8188, metavar="PORT", help="port (default %(default)s)")
    add("--gpu", type=int, default=0, metavar="N", help="index of the GPU that it stands for")
    add(
        "--base-directory",
        type=Path,
        metavar="DIR",
        help="holds output, temp and input (default: one per port in the user's cache folder)",
    )
    add("--output-directory", type=Path, metavar="DIR", help="where SaveImage writes")
    add("--temp-directory", type=Path, metavar="DIR", help="holds temp, which is wiped at start")
    add("--input-directory", type=Path, metavar="DIR", help="where uploads go")
    add(
        "--step-time",
        type=float,
        default=0.01,
        metavar="SECONDS",
        help="time of a sampling step, or of a node without steps (default %(default)s)",
    )
    add(
        "--start-delay",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="wait before the port answers; a real one takes 6 to 13 (default %(default)s)",
    )
    add(
        "--preview-method",
        choices=("none", "auto"),
        default="auto",
        help="whether sampling steps send binary previews (default %(default)s)",
    )
    add("--checkpoint", action="append", metavar="NAME", help="a checkpoint that there is")
    add("--fault", action="append", default=[], metavar="FAULT", help="arm a fault; see below")
    return parser


if __name__ == "__main__":
    sys.exit(main())
