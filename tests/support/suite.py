"""A small suite of tests in a folder of its own, run under the environments' plugin."""

from __future__ import annotations

import io
import os
import sys
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ENVS = Path(__file__).parents[2] / "envs"
THE_SAME_CODE = os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path if entry)
MEDDLING = ("REDIS_URL", "MUSTER_URL", "MUSTER_TOKEN", "MUSTER_ENV")
LEFT_TO_THE_OUTER_RUN = (
    *("cacheprovider", "capture", "faulthandler", "randomly", "schemathesis"),
    *("threadexception", "unraisableexception"),
)
"""Plugins that meddle with the process, which is the outer run's."""


@dataclass(frozen=True)
class Run:
    """How a run of the suite ended."""

    code: int
    said: str

    def refused(self) -> bool:
        """Whether the run did not even begin."""
        return self.code == 4 and "ERROR:" in self.said and " passed" not in self.said


@dataclass(frozen=True)
class Suite:
    """Tests of several tiers, beside a folder ``envs/``."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def environment(self, name: str, text: str) -> None:
        """Write an environment's file."""
        file = self.folder / "envs" / f"{name}.toml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        (file.parent / "canary.json").write_text("{}")

    def tests(self, text: str, file: str = "tests/unit/test_it.py") -> None:
        """Write a file of tests."""
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"import pytest\n\n{text}")

    def run(self, *arguments: str, variables: Mapping[str, str] | None = None) -> Run:
        """Run pytest on it, within this process: a process for each would take seconds."""
        (self.folder / "pytest.ini").write_text("[pytest]\naddopts = -ra --import-mode=importlib\n")
        given = {name: text for name, text in os.environ.items() if name not in MEDDLING}
        environment = {**given, "PYTHONPATH": THE_SAME_CODE, **self.variables, **(variables or {})}
        argv = [word for name in LEFT_TO_THE_OUTER_RUN for word in ("-p", f"no:{name}")]
        said = io.StringIO()
        with (
            patch.dict(os.environ, environment, clear=True),
            chdir(self.folder),
            modules_as_before(),
            redirect_stdout(said),
            redirect_stderr(said),
        ):
            code = pytest.main([*argv, "-p", "muster.matrix.environments.plugin", *arguments])
        return Run(int(code), said.getvalue())


@contextmanager
def modules_as_before() -> Iterator[None]:
    """Forget the modules that are imported meanwhile: each suite has a ``tests.unit.test_it``."""
    before = set(sys.modules)
    try:
        yield
    finally:
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in {"tests", "conftest"}:
                del sys.modules[name]
