"""Where results stay: SQLite in a file, or PostgreSQL by URL."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError

from muster.errors import InvalidInput, MusterError, NotFound
from muster.matrix.results import schema
from muster.matrix.results.model import Measure, Run, RunState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

URL_VARIABLE = "MUSTER_RESULTS_URL"
FAILED = ("failed", "error", "xpassed")
KEPT = 2000
SQLITE_WAIT_S = 60
"""For so long one waits for another that writes: it may be telling a webhook of a problem."""


class StoreUnavailable(MusterError):
    """The store of the results cannot be used."""


@dataclass(frozen=True)
class RunRow:
    """A run as the store has it; ``failed`` counts errors too."""

    id: str
    session: str
    environment: str
    tier: str
    gpus: int | None
    revision: str
    dirty: bool
    part: bool
    python: str
    started: datetime
    state: RunState
    duration_s: float | None
    passed: int
    failed: int
    skipped: int

    @property
    def tests(self) -> int:
        """How many tests it tells of."""
        return self.passed + self.failed + self.skipped


@dataclass(frozen=True)
class TestRow:
    """A test of a run."""

    __test__ = False

    run_id: str
    test: str
    outcome: str
    duration_s: float
    message: str
    worker: str


@dataclass(frozen=True)
class MeasureRow:
    """A measure, and the run that it is of."""

    run: RunRow
    measure: Measure


class Store:
    """The results of many runs. Close it, or use it as a context manager."""

    def __init__(self, url: str) -> None:
        try:
            parsed = sa.make_url(url)
            if parsed.drivername == "postgresql":
                parsed = parsed.set(drivername="postgresql+psycopg")
            is_sqlite = parsed.get_backend_name() == "sqlite"
            patience = {"timeout": SQLITE_WAIT_S} if is_sqlite else {}
            self._engine = sa.create_engine(parsed, connect_args=patience)
        except ArgumentError:
            raise InvalidInput(
                URL_VARIABLE,
                "is no URL of a database",
                "Write sqlite:///results/results.db or postgresql://user@host/name.",
            ) from None
        self.where = parsed.render_as_string(hide_password=True)
        if is_sqlite:
            sa.event.listen(self._engine, "connect", _with_foreign_keys)
        with self.begin() as connection:
            schema.metadata.create_all(connection)
            found = connection.scalar(sa.select(schema.about.c.version))
            if found is None:
                connection.execute(schema.about.insert().values(version=schema.VERSION))
            elif found != schema.VERSION:
                raise StoreUnavailable(
                    f"{self.where} has tables of version {found}, and this Muster uses version "
                    f"{schema.VERSION}. Move it away, and import the run files again."
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """Open a transaction."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise StoreUnavailable(f"{self.where} cannot be used: {error.orig}") from error

    def add(self, run: Run) -> bool:
        """Add a run; tell whether it was new. One that is there stays as it is."""
        try:
            with self.begin() as connection:
                if connection.scalar(
                    sa.select(schema.runs.c.id).where(schema.runs.c.id == run.head.id)
                ):
                    return False
                connection.execute(schema.runs.insert(), _run_values(run))
                _insert(connection, schema.tests, _test_values(run))
                _insert(connection, schema.measures, _measure_values(run))
        except IntegrityError:  # another process was faster
            return False
        return True

    def runs(
        self,
        *,
        session: str | None = None,
        environment: str | None = None,
        limit: int = KEPT,
    ) -> list[RunRow]:
        """Return runs, the newest first."""
        query = sa.select(schema.runs).order_by(schema.runs.c.started.desc()).limit(limit)
        if session:
            query = query.where(schema.runs.c.session == session)
        if environment:
            query = query.where(schema.runs.c.environment == environment)
        return [_run_row(row) for row in self._rows(query)]

    def find(self, wanted: str) -> RunRow:
        """Return the run whose id begins so, or else the newest of the session of that name.

        Raises ``NotFound``, and ``InvalidInput`` where several begin so.
        """
        query = sa.select(schema.runs).where(schema.runs.c.id.startswith(wanted, autoescape=True))
        found = [_run_row(row) for row in self._rows(query.limit(2))]
        if len(found) > 1:
            raise InvalidInput("RUN", "begins several ids", "Give more of it.", value=wanted)
        found = found or self.runs(session=wanted, limit=1)
        if not found:
            raise NotFound(f"No run {wanted!r}. `muster results list` shows those that there are.")
        return found[0]

    def tests(self, run_ids: Sequence[str]) -> list[TestRow]:
        """Return the tests of runs, by name."""
        query = (
            sa.select(schema.tests)
            .where(schema.tests.c.run_id.in_(run_ids))
            .order_by(schema.tests.c.test)
        )
        return [TestRow(**row._mapping) for row in self._rows(query)]  # noqa: SLF001

    def measures(self, run_ids: Sequence[str] | None = None) -> list[MeasureRow]:
        """Return measures, of all runs or of some, the newest first."""
        joined = schema.measures.join(schema.runs, schema.measures.c.run_id == schema.runs.c.id)
        query = (
            sa.select(joined)
            .set_label_style(sa.LABEL_STYLE_TABLENAME_PLUS_COL)
            .order_by(schema.runs.c.started.desc(), schema.measures.c.name)
        )
        if run_ids is not None:
            query = query.where(schema.measures.c.run_id.in_(run_ids))
        return [_measure_row(row) for row in self._rows(query)]

    def prune(self, keep: int = KEPT) -> int:
        """Remove all but the newest runs; return how many were removed."""
        newest = sa.select(schema.runs.c.id).order_by(schema.runs.c.started.desc()).limit(keep)
        with self.begin() as connection:
            kept = list(connection.scalars(newest))
            gone = connection.execute(schema.runs.delete().where(schema.runs.c.id.not_in(kept)))
        return int(gone.rowcount)

    def _rows(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with self.begin() as connection:
            return connection.execute(query).all()


def _with_foreign_keys(connection: Any, _: object) -> None:
    connection.execute("PRAGMA foreign_keys = ON")


def _insert(connection: sa.Connection, table: sa.Table, values: list[dict[str, Any]]) -> None:
    if values:
        connection.execute(table.insert(), values)


def _run_values(run: Run) -> dict[str, Any]:
    outcomes = [test.outcome for test in run.tests]
    failed = sum(outcome in FAILED for outcome in outcomes)
    passed = outcomes.count("passed")
    return {
        **run.head.model_dump(exclude={"kind", "format", "started"}),
        "started": run.head.started.timestamp(),
        "state": str(run.state),
        "duration_s": run.tail.duration_s if run.tail else None,
        "passed": passed,
        "failed": failed,
        "skipped": len(outcomes) - passed - failed,
    }


def _test_values(run: Run) -> list[dict[str, Any]]:
    """Return the last record of each test: one that is run again is told of twice."""
    last = {test.id: test for test in run.tests}
    return [
        {
            "run_id": run.head.id,
            "test": test.id,
            **test.model_dump(include={"outcome", "duration_s", "message", "worker"}),
        }
        for test in last.values()
    ]


def _measure_values(run: Run) -> list[dict[str, Any]]:
    last = {(measure.test, measure.name): measure for measure in run.measures}
    return [
        {"run_id": run.head.id, **measure.model_dump(exclude={"kind"})} for measure in last.values()
    ]


def _run_row(row: sa.Row[Any], prefix: str = "") -> RunRow:
    values = {name: row._mapping[f"{prefix}{name}"] for name in schema.runs.c.keys()}  # noqa: SLF001, SIM118
    started = datetime.fromtimestamp(values["started"], UTC)
    return RunRow(**{**values, "started": started, "state": RunState(values["state"])})


def _measure_row(row: sa.Row[Any]) -> MeasureRow:
    names = [name for name in schema.measures.c.keys() if name != "run_id"]  # noqa: SIM118
    values = {name: row._mapping[f"measures_{name}"] for name in names}  # noqa: SLF001
    return MeasureRow(_run_row(row, "runs_"), Measure(**values))
