"""Where measures are to be seen, and whether anything is there."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOXFILE = "noxfile.py"
_SESSION = re.compile(r"nox -s (\S+)")


def trouble_with(where: str, root: Path) -> str | None:
    """Say what is wrong with a measure's ``where``; None if it points to something.

    It is ``nox -s NAME``, a path from the root, or ``path::symbol``. A symbol is a definition in a
    Python file (``Class::method`` within a class), and a piece of the text in any other.
    """
    if session := _SESSION.fullmatch(where):
        return _trouble_with_session(session[1], root / NOXFILE)
    path, _, symbol = where.partition("::")
    file = root / path
    if not file.resolve().is_relative_to(root.resolve()) or not file.exists():
        return f"{path} does not exist"
    if not symbol:
        return None
    if not file.is_file():
        return f"{path} is a folder, and has no {symbol}"
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".py":
        found = _defines(ast.parse(text).body, symbol.split("::"))
    else:
        found = symbol in text
    return None if found else f"{path} has no {symbol}"


def _trouble_with_session(name: str, noxfile: Path) -> str | None:
    if not noxfile.is_file():
        return f"there is no {NOXFILE}"
    if any(re.fullmatch(pattern, name) for pattern in _sessions(noxfile)):
        return None
    return f"{NOXFILE} has no session {name}"


def _defines(body: list[ast.stmt], symbols: list[str]) -> bool:
    """Tell whether statements define the first symbol, and it the next, and so on."""
    name, *inner = symbols
    for statement in body:
        if name in _names(statement):
            return not inner or _defines(getattr(statement, "body", []), inner)
    return False


def _names(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return [statement.name]
        case ast.Assign():
            return [target.id for target in statement.targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case _:
            return []


def _sessions(noxfile: Path) -> Iterator[str]:
    """Return patterns of the names of sessions, read without running the file."""
    for node in ast.walk(ast.parse(noxfile.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            call = decorator if isinstance(decorator, ast.Call) else None
            if ast.unparse(call.func if call else decorator) != "nox.session":
                continue
            given = [word.value for word in call.keywords if word.arg == "name"] if call else []
            yield _pattern(given[0]) if given else re.escape(node.name)


def _pattern(name: ast.expr) -> str:
    """Return a pattern of what an expression may be: of an f-string only its texts are known."""
    match name:
        case ast.Constant(value=str(text)):
            return re.escape(text)
        case ast.JoinedStr(values=parts):
            return "".join(
                r"[\w.]+" if isinstance(part, ast.FormattedValue) else _pattern(part)
                for part in parts
            )
        case _:
            return r"[\w.-]+"
