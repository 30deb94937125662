"""The queue beside its peers and beside the limit, in one run against one Redis of its own.

Usage: ``nox -s benchmarks -- [--quick] [--json FILE]``, or this file where the packages of
``requirements/bench.txt`` are installed. The goals are printed, and gate nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # In place of this file's folder, where this file would stand in for the standard `queue`.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

    from benchmarks.run import main

    main()
