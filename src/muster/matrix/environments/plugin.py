"""The pytest plugin that holds tests to their environment."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from muster.errors import MusterError
from muster.matrix.environments import declarations, rails, reruns
from muster.matrix.environments.capabilities import check_computer
from muster.matrix.environments.live import Target, check_target, targets
from muster.matrix.environments.reading import DEFAULT, read_environment
from muster.matrix.environments.story import Story

if TYPE_CHECKING:
    from muster.matrix.environments.model import Environment

KEY = pytest.StashKey["Guard"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the environment, the session's tier, and half of an override."""
    group = parser.getgroup("muster environments")
    group.addoption("--env", metavar="NAME", help="where tests run: a file of envs/ [$MUSTER_ENV]")
    group.addoption(
        "--tier", action="append", default=[], help="run tests of that folder of tests/ alone"
    )
    group.addoption(
        "--override-rails",
        metavar="NAME",
        help="run what the environment NAME does not allow, if its nameplate permits it, too",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Read the environment; a run without one does not begin."""
    for mark in declarations.MARKS:
        config.addinivalue_line("markers", mark)
    name = config.getoption("--env") or os.environ.get("MUSTER_ENV") or DEFAULT
    try:
        environment = read_environment(config.rootpath / "envs", name)
        guard = Guard(config, environment)
    except MusterError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[KEY] = guard
    config.pluginmanager.register(guard, "muster-environment-guard")


@pytest.fixture(scope="session")
def environment(request: pytest.FixtureRequest) -> Environment:
    """Return where this run's tests run."""
    return request.config.stash[KEY].environment


@pytest.fixture(scope="session")
def story(request: pytest.FixtureRequest) -> Story:
    """Return what the run's last lines tell."""
    return request.config.stash[KEY].story


@pytest.fixture
def deed(request: pytest.FixtureRequest) -> rails.Deed:
    """Return what this test does to the system."""
    return declarations.deed(request.node)


class Guard:
    """Stands between the tests of one run and their environment."""

    def __init__(self, config: pytest.Config, environment: Environment) -> None:
        self.config = config
        self.environment = environment
        self.override: str | None = config.getoption("--override-rails")
        self.tiers: list[str] = config.getoption("--tier")
        self.story = Story()
        self.began = time.monotonic()
        rails.check_override(environment, self.override)
        again = reruns.asked_for(config)
        if again and not environment.is_ours_to_break:
            raise rails.Refused(f"Reruns have no place in {environment.name}: leave out {again}.")
        self.targets: list[Target] = targets(environment, os.environ)

    def pytest_sessionstart(self) -> None:
        """Look at what is there, before anything else is done."""
        try:
            for word in self.config.args if self.tiers else ():
                path = Path(self.config.invocation_params.dir, word.partition("::")[0]).resolve()
                rails.check_tier(self.tiers, self._tier_of(path), word)
            for line in check_computer(self.environment):
                self.story.note(line)
            for target in self.targets:
                plate = check_target(self.environment, target)
                self.story.note(f"{target.where} says that it is {plate.environment}")
        except MusterError as error:
            raise pytest.UsageError(str(error)) from None

    def _tier_of(self, path: Path) -> str:
        tests = self.config.rootpath / "tests"
        inside = path.relative_to(tests).parts if path.is_relative_to(tests) else ()
        return inside[0] if inside else "every tier"

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out, and tell of, tests that have no place here.

        One that was asked for by its name is not left out: it is refused when its turn comes.
        """
        by_name = {word for word in self.config.args if "::" in word}
        kept, left_out = [], []
        for item in items:
            try:
                rails.check_tier(self.tiers, declarations.tier(item), item.nodeid)
            except rails.Refused as refused:
                raise pytest.UsageError(str(refused)) from None
            why = declarations.why_not(self.environment, item)
            if why is None or self.override or any(item.nodeid in word for word in by_name):
                kept.append(item)
            else:
                left_out.append(item)
                self.story.left_out[item.nodeid] = why
        items[:] = kept
        self.config.hook.pytest_deselected(items=left_out)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Look once more at the live system, and hold the test off if it may not do what it does.

        Before each test: the system at the other end may have become another one.
        """
        environment, deed = self.environment, declarations.deed(item)
        if time.monotonic() - self.began > environment.limits.run_s:
            raise rails.Refused(
                f"This run has used up its {environment.limits.run_s:g} s in {environment.name}."
            )
        plates = [check_target(environment, target) for target in self.targets]
        for plate in plates:
            rails.check_deed(environment, deed, plate, self.override)
        # Without a system that could permit more, there is no override.
        why = None if plates else rails.refusal(environment, deed)
        if why := why or declarations.out_of_place(environment, item):
            raise rails.Refused(f"{why}.")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count."""
        self.story.saw(report)

    def pytest_sessionfinish(self) -> None:
        """Hand over to the process that began the run, if this is a parallel worker."""
        output: dict[str, Any] | None = getattr(self.config, "workeroutput", None)
        if output is not None:
            output["muster_environment"] = self.story.handed_over()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over from a parallel worker that has ended."""
        handed = getattr(node, "workeroutput", {}).get("muster_environment")
        if handed:
            self.story.take(handed)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tell what ran where, what did not and why."""
        terminalreporter.section("environment")
        for line in self.story.lines(self.environment):
            terminalreporter.write_line(line)
