"""The tables of the store. Times are seconds since the epoch, UTC."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

VERSION = 1

metadata = MetaData()

about = Table("about", metadata, Column("version", Integer, primary_key=True))


def _run_id() -> Column[str]:
    return Column("run_id", String(32), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)


runs = Table(
    "runs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("session", String(80), nullable=False),
    Column("environment", String(80), nullable=False),
    Column("tier", String(40), nullable=False),
    Column("gpus", Integer),
    Column("revision", String(64), nullable=False),
    Column("dirty", Boolean, nullable=False),
    Column("part", Boolean, nullable=False),
    Column("python", String(20), nullable=False),
    Column("started", Double, nullable=False),
    Column("state", String(20), nullable=False),
    Column("duration_s", Double),
    Column("passed", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("skipped", Integer, nullable=False),
    Index("runs_by_time", "started"),
)

tests = Table(
    "tests",
    metadata,
    _run_id(),
    Column("test", String(500), primary_key=True),
    Column("outcome", String(10), nullable=False),
    Column("duration_s", Double, nullable=False),
    Column("message", Text, nullable=False),
    Column("worker", String(20), nullable=False),
)

measures = Table(
    "measures",
    metadata,
    _run_id(),
    Column("test", String(500), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("value", Double, nullable=False),
    Column("unit", String(40), nullable=False),
    Column("better", String(6), nullable=False),
    Column("goal", Double),
    Column("control", Double),
)

problems = Table(
    "problems",
    metadata,
    Column("key", String(700), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("told", Text, nullable=False),
    Column("since", Double, nullable=False),
    Column("cleared", Double),
    Column("announced", Double),
    Column("closed", Double),
)
"""``announced`` and ``closed``: when the webhook took the news that it is there, and is over."""
