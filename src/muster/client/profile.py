"""The user's profile: which server the client speaks to when nothing else says so."""

from __future__ import annotations

import os
import tempfile
import tomllib
from pathlib import Path

import platformdirs
import tomlkit
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from muster.errors import InvalidInput


class Profile(BaseModel):
    """A server, the token to show it, and the authority whose signature it must have.

    Without a ``ca_file`` those are trusted that this system trusts.
    """

    model_config = ConfigDict(frozen=True)

    url: str
    token: SecretStr
    ca_file: Path | None = None


def profile_path() -> Path:
    """Return where the user's profile is, whether or not there is one."""
    return platformdirs.user_config_path("muster") / "profile.toml"


def read_profile(path: Path | None = None) -> Profile | None:
    """Return the user's profile, or None when there is none.

    Raises ``InvalidInput`` when there is a file that is not a profile.
    """
    path = path or profile_path()
    try:
        return Profile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError):
        raise InvalidInput(
            str(path),
            "is not a profile: it needs the strings url and token, in TOML",
            "Remove it, or run `muster up` to have it written again.",
        ) from None


def write_profile(profile: Profile, path: Path | None = None) -> Path:
    """Write the user's profile, readable by the user alone, and return where it is."""
    path = path or profile_path()
    text = tomlkit.dumps({"url": profile.url, "token": profile.token.get_secret_value()})
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(path, text)
    return path


def write_private(path: Path, text: str) -> None:
    """Put a file there at once and whole, with mode 0600: no reader sees half of it."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise
