"""What says where downloads come from, and where they are kept."""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path
from typing import Annotated, Any

from platformdirs import user_data_path
from pydantic import ByteSize, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from muster.downloads.http import Token
from muster.downloads.places import Host, Places
from muster.downloads.releases import FORMS, CredentialsInUrl, Release, check_asset, parse_release
from muster.errors import InvalidInput
from muster.jobs.model import Name
from muster.settings import Settings

HOSTS = "github.com,objects.githubusercontent.com,release-assets.githubusercontent.com"
ASSET = (
    f"muster-worker-cp{sys.version_info.major}{sys.version_info.minor}"
    f"-{sys.platform}-{platform.machine()}.pyz"
)
"""What ``nox -s package`` calls the package for this Python and processor."""

_SHA256 = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")
_TOKEN = re.compile(r"[!-~]+")
_MAY_HOLD_A_SECRET = re.compile(r"\?|(?:[^:/]*://)?[^@]*:.*@")


def _store_in(earlier: dict[str, Any]) -> Path:
    data_dir: Path = earlier["data_dir"]
    return data_dir / "store"


class StoreSettings(Settings):
    """Where files are kept."""

    data_dir: Path = Field(
        alias="MUSTER_DATA_DIR",
        default_factory=lambda: user_data_path("muster"),
        description="Use an absolute path to a folder that this machine may write to.",
    )
    store_dir: Path = Field(
        alias="MUSTER_STORE_DIR",
        default_factory=_store_in,
        description="Use an absolute path to a folder on a disk with room for packages and "
        "models; machines on one host may share it.",
    )

    @field_validator("data_dir", "store_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError("the path is not absolute")
        return value


class DownloadSettings(StoreSettings):
    """Which release workers run, which models there are, and where both come from."""

    download_hosts: Annotated[frozenset[Host], NoDecode] = Field(
        alias="DOWNLOAD_HOSTS",
        default_factory=lambda: _hosts(HOSTS),
        description="List the hosts that downloads may come from and be redirected to, with commas "
        "between: name, name:port, or http://name:port for one without TLS.",
    )
    release_host: Annotated[Host, NoDecode] = Field(
        alias="RELEASE_HOST",
        default_factory=lambda: Host.parse("github.com"),
        description="Use the host of the release pages, for example https://github.com.",
    )
    release_token: SecretStr | None = Field(
        alias="RELEASE_TOKEN",
        default=None,
        min_length=1,
        description="Use a token for RELEASE_HOST, where releases are not public; it is sent to no "
        "other host, and never unencrypted.",
    )
    worker_release_asset: str = Field(
        alias="WORKER_RELEASE_ASSET",
        default=ASSET,
        description="Use the name of the release's file, as `nox -s package` makes it.",
    )
    worker_release: Annotated[Release | None, NoDecode] = Field(
        alias="WORKER_RELEASE",
        default=None,
        description=f"Use {FORMS}; unset it to run the release that is installed here.",
    )
    worker_release_sha256: str | None = Field(
        alias="WORKER_RELEASE_SHA256",
        default=None,
        description="Use the SHA-256 of the release's file, 64 hexadecimal digits.",
    )
    worker_release_fallback: bool = Field(
        alias="WORKER_RELEASE_FALLBACK",
        default=False,
        description="Use 1 to start, degraded, with the release that ran last when WORKER_RELEASE "
        "cannot be had; else 0.",
    )
    download_patience_s: float = Field(
        alias="DOWNLOAD_PATIENCE_S",
        default=900,
        gt=0,
        le=86_400,
        description="Use the seconds after which a download that brings nothing is given up.",
    )
    model_catalogue: Path | None = Field(
        alias="MODEL_CATALOGUE",
        default=None,
        description="Use the path of the TOML file that lists the models that may be fetched.",
    )
    model_budget: ByteSize | None = Field(
        alias="MODEL_BUDGET",
        default=None,
        gt=0,
        description="Use how much disk models may take, for example 200GiB; unset it for all "
        "that is free.",
    )
    models_kept: Annotated[frozenset[Name], NoDecode] = Field(
        alias="MODELS_KEPT",
        default=frozenset(),
        description="List models of the catalogue, with commas between, to fetch at the start and "
        "to keep whatever else is asked for.",
    )
    model_fetches: int = Field(
        alias="MODEL_FETCHES",
        default=4,
        ge=1,
        le=1000,
        description="Use how many machines of the fleet may fetch one model at the same time.",
    )

    @field_validator("download_hosts", mode="before")
    @classmethod
    def _parse_hosts(cls, value: object) -> object:
        _check_no_user("DOWNLOAD_HOSTS", value)
        return _hosts(value) if isinstance(value, str) else value

    @field_validator("release_host", mode="before")
    @classmethod
    def _parse_host(cls, value: object) -> object:
        _check_no_user("RELEASE_HOST", value)
        return Host.parse(value) if isinstance(value, str) else value

    @field_validator("release_token")
    @classmethod
    def _goes_encrypted(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        host = info.data.get("release_host")
        if value is not None and host is not None and host.scheme != "https":
            raise ValueError(f"it would go to {host} unencrypted")
        if value is not None and not _TOKEN.fullmatch(value.get_secret_value()):
            raise ValueError("it holds a blank, a line's end or what is not ASCII")
        return value

    @field_validator("worker_release_asset")
    @classmethod
    def _is_a_file_s_name(cls, value: str) -> str:
        check_asset(value)
        return value

    @field_validator("worker_release", mode="before")
    @classmethod
    def _parse_release(cls, value: object, info: ValidationInfo) -> object:
        given = info.data
        if not isinstance(value, str) or not {"release_host", "worker_release_asset"} <= set(given):
            return value
        host, asset = given["release_host"], given["worker_release_asset"]
        try:
            release = parse_release(value, host=host, asset=asset)
            if release.host != host:
                Places(given.get("download_hosts", frozenset())).check(release.url)
        except CredentialsInUrl as error:
            # The message of a ValueError would show the value.
            raise InvalidInput("WORKER_RELEASE", str(error), f"Use {error.instead}.") from None
        except ValueError as error:
            if not _MAY_HOLD_A_SECRET.search(value):
                raise
            raise InvalidInput("WORKER_RELEASE", f"is refused: {error}", f"Use {FORMS}.") from None
        return release

    @field_validator("worker_release_sha256")
    @classmethod
    def _plain_digest(cls, value: str | None) -> str | None:
        if value is None:
            return None
        found = _SHA256.fullmatch(value)
        if not found:
            raise ValueError("it is not a SHA-256")
        return found[1].lower()

    @field_validator("models_kept", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return [part.strip() for part in value.split(",") if part.strip()]

    @property
    def places(self) -> Places:
        """Where downloads may come from."""
        return Places(self.download_hosts | {self.release_host})

    @property
    def token(self) -> Token | None:
        """The credential for the release host, if there is one."""
        return Token(self.release_host, self.release_token) if self.release_token else None


def _check_no_user(variable: str, value: object) -> None:
    """Refuse a user or password, in a message that does not show them."""
    if isinstance(value, str) and "@" in value:
        raise InvalidInput(variable, "holds a user or password", "Use hosts alone.")


def _hosts(text: str) -> frozenset[Host]:
    return frozenset(Host.parse(part.strip()) for part in text.split(",") if part.strip())
