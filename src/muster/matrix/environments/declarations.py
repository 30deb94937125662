"""What tests say of themselves, by mark and by folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.matrix.environments import reruns
from muster.matrix.environments.model import Act, Capability
from muster.matrix.environments.rails import Deed, refusal

if TYPE_CHECKING:
    from muster.matrix.environments.model import Environment

MARKS = (
    'acts(act, canary=False): what the test does to the system: "read", "write" or "destructive"; '
    "without this mark it counts as destructive",
    'needs(*capabilities): what the environment must have for it: "docker", "gpus", "tls", '
    '"sentinel"',
)


def deed(item: pytest.Item) -> Deed:
    """Return what a test does. Raises ``pytest.UsageError`` for a mark that says nothing."""
    mark = item.get_closest_marker("acts")
    if mark is None:
        return Deed()
    try:
        (act,) = mark.args
        return Deed(Act(act), **mark.kwargs)
    except (TypeError, ValueError):
        raise pytest.UsageError(
            f"{item.nodeid}: its mark acts{mark.args} is not one of read, write, destructive"
        ) from None


def tier(item: pytest.Item) -> str:
    """Return the folder of ``tests/`` that a test lies in."""
    parts = item.path.relative_to(item.config.rootpath).parts
    return parts[1] if parts[0] == "tests" and len(parts) > 2 else parts[0]


def why_not(environment: Environment, item: pytest.Item) -> str | None:
    """Say why a test has no place in the environment; None if it has."""
    return refusal(environment, deed(item)) or out_of_place(environment, item)


def out_of_place(environment: Environment, item: pytest.Item) -> str | None:
    """Say why a test has no place there whatever it does, which no override changes."""
    if not environment.is_ours_to_break:
        for what, found in _only_for_ours(item).items():
            if found:
                return f"{what} has no place in {environment.name}"
    for mark in item.iter_markers("needs"):
        for wanted in mark.args:
            if Capability(wanted) not in environment.capabilities:
                return f"{environment.name} does not declare {wanted}"
    return None


def _only_for_ours(item: pytest.Item) -> dict[str, bool]:
    return {
        "load": tier(item) == "load",
        "generated data": getattr(getattr(item, "obj", None), "is_hypothesis_test", False),
        "a rerun": item.get_closest_marker(reruns.MARK) is not None,
    }
