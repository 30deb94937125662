"""From the fleet's records to the rows that viewers see. A row is never changed once it is made."""

from __future__ import annotations

from datetime import datetime
from typing import Any

Row = dict[str, Any]


def machine_row(record: Row) -> Row:
    """Return a machine's row, from its record as it is stored."""
    row = {
        "state": record["state"],
        "reasons": record.get("reasons", []),
        "gpus": record["gpus"],
        "host": record.get("host", ""),
        "version": record.get("version", ""),
        "release": record.get("release"),
        "models": record.get("models", []),
        "downloads": record.get("downloads", []),
        "programs": {
            program["name"]: _present({k: v for k, v in program.items() if k != "name"})
            for program in record.get("programs", [])
        },
        "started_at": _milliseconds(record.get("started_at")),
    }
    return _present(row)


def worker_row(record: Row) -> Row:
    """Return a worker's row, from its record as it is stored."""
    offers = record["capabilities"]
    row = {
        "machine": record["machine_id"],
        "gpu": record["gpu"],
        "state": record["state"],
        "service": offers["service"],
        "models": sorted(offers.get("models", [])),
        "vram_mib": offers.get("vram_mib", 0),
        "labels": offers.get("labels", {}),
        "reason": record.get("reason", ""),
        "pid": record.get("pid"),
        "version": record.get("version", ""),
        "release": record.get("release"),
        "started_at": _milliseconds(record.get("started_at")),
    }
    return _present(row)


def running_row(worker: str, attempt: int, started_at: int) -> Row:
    """Return the row of a job that has just begun to run."""
    return {"state": "running", "worker": worker, "attempt": attempt, "started_at": started_at}


def _present(row: Row) -> Row:
    """Leave out what has no value: to a viewer, null means that a field is gone."""
    return {name: value for name, value in row.items() if value is not None}


def _milliseconds(time: str | None) -> int | None:
    return round(datetime.fromisoformat(time).timestamp() * 1000) if time else None
