"""Makes one record of a test out of the reports of its phases."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from muster.matrix.results.model import Outcome, TestLine

if TYPE_CHECKING:
    import pytest

MESSAGE_LENGTH = 300


class Gathering:
    """Gathers reports until a test is over. ``totals`` counts the outcomes."""

    def __init__(self) -> None:
        self.totals: Counter[Outcome] = Counter()
        self._open: defaultdict[str, list[pytest.TestReport]] = defaultdict(list)
        self._uncollected: set[str] = set()

    def add(self, report: pytest.TestReport) -> TestLine | None:
        """Take a phase's report; return the test's record when it was the last one.

        A report of no phase is what a parallel run says of a test whose process died.
        """
        self._open[report.nodeid].append(report)
        if report.when in {"setup", "call"}:
            return None
        reports = self._open.pop(report.nodeid)
        return self._counted(
            TestLine(
                id=report.nodeid,
                outcome=_outcome(reports),
                phases={each.when or "?": str(each.outcome) for each in reports},
                duration_s=round(sum(getattr(each, "duration", 0) for each in reports), 4),
                message=next((_message(each) for each in reports if not each.passed), ""),
                worker=str(getattr(report, "worker_id", "")),
            )
        )

    def add_uncollected(self, report: pytest.CollectReport) -> TestLine | None:
        """Take the report of a collection; return a record if it failed, once for all workers."""
        if not report.failed or report.nodeid in self._uncollected:
            return None
        self._uncollected.add(report.nodeid)
        return self._counted(
            TestLine(
                id=report.nodeid or "(collection)",
                outcome="error",
                phases={"collect": "failed"},
                duration_s=0,
                message=_message(report),
            )
        )

    def _counted(self, line: TestLine) -> TestLine:
        self.totals[line.outcome] += 1
        return line


def _outcome(reports: list[pytest.TestReport]) -> Outcome:
    failed = [report for report in reports if report.failed]
    if failed:
        in_a_fixture = all(report.when in {"setup", "teardown"} for report in failed)
        return "error" if in_a_fixture else "failed"
    expected_to_fail = any(hasattr(report, "wasxfail") for report in reports)
    if any(report.skipped for report in reports):
        return "xfailed" if expected_to_fail else "skipped"
    return "xpassed" if expected_to_fail else "passed"


def _message(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return the beginning of what went wrong, or why it was skipped."""
    told = report.longrepr
    crash = getattr(told, "reprcrash", None)
    if crash is not None:
        text = str(crash.message)
    elif isinstance(told, tuple):
        text = str(told[2])
    else:
        text = str(told).strip().rpartition("\n")[2]
    return text[:MESSAGE_LENGTH]
