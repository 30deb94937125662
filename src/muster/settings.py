"""What every part reads from its environment: the base of all settings, and the Redis behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, FilePath, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from muster.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path


class Settings(BaseSettings):
    """Base of all settings: environment variables first, then an optional ``.env`` file.

    A field's alias is the name of its environment variable; a field's description says what a
    good value is and ends up in the error message as the remedy.
    """

    model_config = SettingsConfigDict(extra="ignore", populate_by_name=True, frozen=True)

    @classmethod
    def load(cls, env_file: Path | None = None, **values: Any) -> Self:
        """Read and validate; ``values`` (from command-line options) win over the environment.

        Raises ``InvalidInput`` that names the first bad variable, its value (never a secret's)
        and the remedy.
        """
        given = {name: value for name, value in values.items() if value is not None}
        try:
            return cls(_env_file=env_file, **given)  # type: ignore[call-arg]
        except ValidationError as error:
            raise cls._explained(error) from None

    @classmethod
    def _explained(cls, error: ValidationError) -> InvalidInput:
        first = error.errors(include_url=False)[0]
        place = str(first["loc"][0]) if first["loc"] else cls.__name__
        field = cls.model_fields.get(place)
        for name, candidate in cls.model_fields.items():
            if place in {name, candidate.alias}:
                field, place = candidate, candidate.alias or name
        secret = field is not None and "Secret" in str(field.annotation)
        remedy = (field.description if field else None) or "See `muster --help`."
        if first["type"] == "missing":
            return InvalidInput(place, "is not set", remedy)
        problem = first["msg"].removeprefix("Value error, ")
        return InvalidInput(
            place, f"is refused: {problem}", remedy, value=None if secret else first["input"]
        )


SENTINEL_PORT = 26379
CA_REMEDY = (
    "Use the path of a PEM file with the authority that signed the certificates of Redis and of "
    "the server; it is trusted in place of those that this system trusts."
)


@dataclass(frozen=True, slots=True)
class Sentinels:
    """The sentinels that know which Redis is the primary of a service, and how to enter there."""

    addresses: tuple[tuple[str, int], ...]
    service: str
    db: int
    username: str | None
    password: str | None
    tls: bool

    @classmethod
    def of(cls, url: str) -> Self | None:
        """Read ``redis+sentinel://user:password@host:port,host:port/SERVICE/DB``.

        ``rediss+sentinel`` is the same over TLS. Returns None for a URL of another scheme; raises
        ``ValueError`` that shows no password.
        """
        scheme, _, rest = url.partition("://")
        if scheme not in {"redis+sentinel", "rediss+sentinel"}:
            return None
        authority, _, path = rest.partition("/")
        user, _, hosts = authority.rpartition("@")
        username, _, password = user.partition(":")
        service, _, db = path.partition("/")
        if not service or not (db or "0").isdigit():
            raise ValueError("it does not end with /SERVICE or /SERVICE/DB")
        return cls(
            addresses=tuple(_address(host) for host in hosts.split(",")),
            service=unquote(service),
            db=int(db or 0),
            username=unquote(username) or None,
            password=unquote(password) or None,
            tls=scheme.startswith("rediss"),
        )


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = text, str(SENTINEL_PORT)
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("a sentinel is not given as host or host:port, with commas between")
    return host, int(port)


class RedisSettings(Settings):
    """Which Redis, and which queue on it."""

    redis_url: SecretStr = Field(
        alias="REDIS_URL",
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="Set REDIS_URL to redis://, rediss:// (TLS), unix://, or redis+sentinel:// "
        "(rediss+sentinel://), for example redis://user:password@host:6379/0 or "
        "redis+sentinel://user:password@host-1:26379,host-2:26379/muster.",
    )
    ca_file: FilePath | None = Field(alias="MUSTER_CA_FILE", default=None, description=CA_REMEDY)
    queue: str = Field(
        alias="MUSTER_QUEUE",
        default="default",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$",
        description="Use 1 to 32 letters, digits, dots, dashes or underscores.",
    )

    @field_validator("redis_url")
    @classmethod
    def _known_scheme(cls, url: SecretStr) -> SecretStr:
        if Sentinels.of(url.get_secret_value()):
            return url
        parts = urlsplit(url.get_secret_value())
        if parts.scheme not in {"redis", "rediss", "unix"}:
            raise ValueError(
                f"the scheme {parts.scheme!r} is not one of redis, rediss, unix, "
                "redis+sentinel, rediss+sentinel"
            )
        if parts.scheme != "unix" and "@" in parts.path + parts.query + parts.fragment:
            raise ValueError("its password holds / ? or #, to be written as %2F, %3F and %23")
        try:
            port = parts.port
        except ValueError:  # whose message may show a part of the password
            port = 0
        if port == 0:
            raise ValueError("the port is not a number from 1 to 65535")
        return url
