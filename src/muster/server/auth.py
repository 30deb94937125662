"""Bearer tokens: who may do what. The file holds digests, never a token."""

from __future__ import annotations

import secrets
import tomllib
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING, Annotated

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from muster.client.problem import field_problems
from muster.client.profile import write_private
from muster.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "muster_"  # lets secret scanners know a leaked one


class Role(StrEnum):
    """What a token is good for. Each role may do what those before it may."""

    VIEW = "view"
    SUBMIT = "submit"
    OPERATE = "operate"

    def includes(self, other: Role) -> bool:
        """Whether this role may do what the other may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


class TokenEntry(BaseModel):
    """What the tokens file says of one token.

    A plain digest is enough: tokens are 256 random bits, which nobody guesses.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    role: Role
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] = Field(repr=False)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    token: list[TokenEntry] = Field(default_factory=list)


def new_token(name: str, role: Role) -> tuple[str, TokenEntry]:
    """Return a new token, to be shown to its owner once, and its entry for the tokens file."""
    token = PREFIX + secrets.token_urlsafe(32)
    try:
        return token, TokenEntry(name=name, role=role, sha256=_digest(token))
    except ValidationError:
        raise InvalidInput(
            "name",
            "cannot name a token",
            "Use 1 to 64 letters, digits, dots, dashes or underscores.",
            value=name,
        ) from None


class TokensFile:
    """The tokens file. It is read again when it has changed, so that removal takes effect at once.

    All methods raise ``InvalidInput`` when it cannot be read: no one is let in by an old copy.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries: list[TokenEntry] = []
        self._version: tuple[int, int, int] | None = None

    def entries(self) -> list[TokenEntry]:
        """Return what the file holds now."""
        try:
            status = self.path.stat()
            version = (status.st_ino, status.st_mtime_ns, status.st_size)
            if version != self._version:
                self._entries, self._version = self._read(), version
        except OSError as error:
            raise InvalidInput(
                "MUSTER_TOKENS_FILE",
                f"cannot be read ({error.strerror})",
                "Make it with `muster token add NAME --role operate`.",
                value=str(self.path),
            ) from None
        return self._entries

    def find(self, token: str) -> TokenEntry | None:
        """Return the token's entry, in the same time whichever it is, or none."""
        digest = _digest(token)
        found = None
        for entry in self.entries():
            if compare_digest(entry.sha256, digest):
                found = entry
        return found

    def add(self, entry: TokenEntry) -> None:
        """Add an entry, keeping the comments in the file; without a file, make one."""
        document = self._document() if self.path.exists() else tomlkit.document()
        if any(held["name"] == entry.name for held in document.get("token", [])):
            raise InvalidInput(
                "name",
                "is taken by another token",
                "Use another name, or remove that token first.",
                value=entry.name,
            )
        table = tomlkit.table()
        table.update(entry.model_dump(mode="json"))
        document.setdefault("token", tomlkit.aot()).append(table)
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(self.path, tomlkit.dumps(document))

    def remove(self, name: str) -> None:
        """Remove the entry of that name. Raises ``NotFound``."""
        document = self._document()
        kept = [held for held in document.get("token", []) if held["name"] != name]
        if len(kept) == len(document.get("token", [])):
            raise NotFound(f"There is no token {name!r} in {self.path}.")
        if kept:
            document["token"] = kept
        else:  # an empty list would be no table to add the next one to
            del document["token"]
        write_private(self.path, tomlkit.dumps(document))

    def _document(self) -> tomlkit.TOMLDocument:
        self.entries()
        return tomlkit.parse(self.path.read_text(encoding="utf-8"))

    def _read(self) -> list[TokenEntry]:
        try:
            return _File.model_validate(tomllib.loads(self.path.read_text(encoding="utf-8"))).token
        except ValidationError as error:
            problem = str(field_problems(error.errors(include_url=False))[0])
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            problem = str(error)
        raise InvalidInput(
            str(self.path), f"is not a tokens file: {problem}", "Correct it, or make it anew."
        )


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()
