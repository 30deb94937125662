"""Writes ``.env`` files that python-dotenv, and so every ``Settings`` class, reads back exactly."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from muster.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# In double quotes python-dotenv knows backslash escapes, and expands ${name:-default} whatever the
# quotes. A dollar sign and a backslash are written as the default of a variable without a name:
# that is how a dollar sign can be said at all, and a backslash before the closing quote in the
# releases of python-dotenv that take it for an escape of that quote.
_ESCAPES = str.maketrans({"$": "${:-$}", "\\": "${:-\\\\}", '"': '\\"', "\n": "\\n", "\r": "\\r"})


def render(variables: Mapping[str, str]) -> str:
    """Return the text of a ``.env`` file. Raises ``InvalidInput`` for a malformed name."""
    for name in variables:
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                "variable", "is not a name", "Use letters, digits and underscores.", value=name
            )
    return "".join(f'{name}="{value.translate(_ESCAPES)}"\n' for name, value in variables.items())
