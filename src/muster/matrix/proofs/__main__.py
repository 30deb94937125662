"""``python -m muster.matrix.proofs``: see ``command``."""

from __future__ import annotations

from muster.matrix.proofs.command import main

main()
