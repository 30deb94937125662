"""Begins a record: its folder, its front matter, and tests that fail until they are written."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomlkit

from muster.errors import InvalidInput
from muster.matrix.ledger import patches
from muster.matrix.ledger.book import FENCE, FOLDER, RECORD, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from muster.matrix.ledger.record import Tier

NO_FAULT_YET = "nothing would catch it yet"
STORY = "How it showed, how the cause was found, what was done."
_TEST = '''\
"""Failure {number}: {title}."""

from __future__ import annotations

import pytest


@pytest.mark.failure({number})
def test_{name}() -> None:
    pytest.fail("write this test: it must fail when a cause of failure {number} is put back")
'''


@dataclass(frozen=True)
class Draft:
    """What is known of a failure when it is written down. Causes are pairs of kind and text."""

    title: str
    date: dt.date
    environment: str
    impact: str
    symptoms: Sequence[str]
    causes: Sequence[tuple[str, str]]
    tiers: Sequence[Tier] = ()
    owner: str = ""


def begin(root: Path, draft: Draft) -> list[Path]:
    """Write a new record and a test at each tier of the draft; return the files, the record first.

    Without tiers the record is ``uncovered``, and its owner's. Nothing is written if the draft
    does not make a record (``BadLedger``), or if a file is there already (``InvalidInput``).
    """
    number = _next_number(root)
    slug = slugify(draft.title, words=8)
    if not slug:
        raise InvalidInput(
            "title", "has no letters", "Say in words what failed.", value=draft.title
        )
    name = slug.replace("-", "_")
    tests = {tier: Path("tests", tier, f"test_{name}.py") for tier in draft.tiers}
    record = Path(FOLDER, f"{number:04}-{slug}", RECORD)
    files = {record: _record(number, name, draft, tests)}
    for path in tests.values():
        files[path] = _TEST.format(number=number, title=_in_docstring(draft.title), name=name)
    parse(str(record), files[record])
    for path in files:
        if (root / path).exists():
            raise InvalidInput(str(path), "exists already", "Choose another title.")
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return [root / path for path in files]


def slugify(text: str, *, words: int) -> str:
    """Return the first words of a text as a name: ``No lease!`` is ``no-lease``."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower())[:words])


def _next_number(root: Path) -> int:
    folders = {folder.name for folder in (root / FOLDER).iterdir()} | patches.removed(root)
    return max((int(name[:4]) for name in folders if re.match(r"\d{4}-", name)), default=0) + 1


def _record(number: int, name: str, draft: Draft, tests: dict[Tier, Path]) -> str:
    front: dict[str, Any] = {
        "id": number,
        "title": draft.title,
        "date": draft.date,
        "environment": draft.environment,
        "impact": draft.impact,
        "symptoms": list(draft.symptoms),
    }
    if not tests:
        front |= {"state": "uncovered", "reason": NO_FAULT_YET, "owner": draft.owner}
        front["since"] = dt.datetime.now(dt.UTC).date()
    front["cause"] = list(_causes(draft))
    front["test"] = [{"tier": t, "id": f"{path}::test_{name}"} for t, path in tests.items()]
    toml = tomlkit.dumps({key: value for key, value in front.items() if value != []})
    return f"{FENCE}\n{toml}{FENCE}\n\n{STORY}\n"


def _causes(draft: Draft) -> Iterator[dict[str, str]]:
    names: set[str] = set()
    for kind, text in draft.causes:
        name = slugify(text, words=5) or kind
        if name in names:
            name = f"{name}-{len(names) + 1}"
        names.add(name)
        yield {"name": name, "kind": kind, "text": text}


def _in_docstring(title: str) -> str:
    return title.rstrip(".").replace("\\", "").replace('"', "'")
