"""``python -m muster.cli``: how Muster starts its own processes, wherever its script is."""

from __future__ import annotations

from muster.cli import main

main()
