"""Who a machine and its workers are. Every worker has its machine, or does not start."""

from __future__ import annotations
