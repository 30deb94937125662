"""The command line of the server: ``python -m muster.simulation.releases --directory DIR``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from muster.errors import InvalidInput
from muster.simulation.releases.app import create_app
from muster.simulation.releases.faults import FAULTS, FORM, parse
from muster.simulation.releases.options import Options, parse_rate
from muster.simulation.releases.server import Server

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until killed. Ctrl-C ends it with exit code 0."""
    given = _parser().parse_args(arguments)
    try:
        options = Options(
            directory=given.directory,
            objects_host=given.objects_host,
            limit=parse_rate("--limit", given.limit) if given.limit else None,
            api_limit=parse_rate("--api-limit", given.api_limit),
            log_file=given.log,
        )
        faults = [parse(text) for text in given.fault]
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    app = create_app(options)
    for fault in faults:
        app.state.faults.arm(fault)
    try:
        asyncio.run(Server(app, given.listen, given.port, _announce).serve())
    except KeyboardInterrupt:
        return 0
    return 1


def _announce(url: str) -> None:
    print(f"Simulated releases: {url}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m muster.simulation.releases",
        description="A server that behaves as GitHub's release downloads do.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="DIR holds {owner}/{repo}/{tag}/{asset}; {owner}/{repo}/latest, a text file with\n"
        "the tag of the latest release; and files/{path}, which /files/{path} serves.\n\n"
        f"faults, {FORM}, for good unless TIMES is given:\n"
        + "\n".join(f"  {line}" for line in FAULTS.values())
        + '\n\nWhile it runs: POST /simulation/faults {"fault": "cut=65536*2"} arms one, DELETE\n'
        "disarms all; GET /simulation/log shows all requests, DELETE clears it.",
    )
    add = parser.add_argument
    add("--directory", type=Path, required=True, metavar="DIR", help="what is served; see below")
    add("--listen", default="127.0.0.1", metavar="ADDRESS", help="address (default %(default)s)")
    add("--port", type=int, default=0, metavar="PORT", help="port (default: a free one)")
    add(
        "--objects-host",
        metavar="HOST[:PORT]",
        help="where the bytes of assets are redirected to (default: the host that was asked); "
        "without a port, the port that was asked",
    )
    add(
        "--limit",
        metavar="N/S",
        help="requests per seconds of each client for releases and files (default: none)",
    )
    add(
        "--api-limit",
        default="60/3600",
        metavar="N/S",
        help="the same for the API, as GitHub counts it (default %(default)s)",
    )
    add("--log", type=Path, metavar="FILE", help="append a line of JSON per request that is over")
    add("--fault", action="append", default=[], metavar="FAULT", help="arm a fault; see below")
    return parser


if __name__ == "__main__":
    sys.exit(main())
