"""Which server, and with which token: arguments, then the environment, then the profile."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from pydantic import Field, FilePath, SecretStr

from muster.client.profile import Profile, read_profile
from muster.errors import InvalidInput
from muster.settings import CA_REMEDY, Settings

URL_REMEDY = "Give the server's URL, such as https://muster.example.org, or run `muster up`."
TOKEN_REMEDY = "Give the token that the server's operator made for you."  # noqa: S105


class ClientSettings(Settings):
    """What the client reads from the environment."""

    url: str | None = Field(alias="MUSTER_URL", default=None, description=URL_REMEDY)
    token: SecretStr | None = Field(alias="MUSTER_TOKEN", default=None, description=TOKEN_REMEDY)
    ca_file: FilePath | None = Field(alias="MUSTER_CA_FILE", default=None, description=CA_REMEDY)
    allow_http: bool = Field(
        alias="MUSTER_ALLOW_HTTP",
        default=False,
        description="Use 1 to send the token unencrypted over a network that you trust, else 0.",
    )


def find_server(url: str | None = None, token: str | None = None) -> Profile:
    """Return the server to speak to and the token to show it.

    The profile's token is shown to the profile's server only. A token is sent over https, or over
    http to this machine; over http elsewhere only where MUSTER_ALLOW_HTTP says so. Raises
    ``InvalidInput`` that says what is missing.
    """
    settings = ClientSettings.load(url=url, token=token)
    profile = None if settings.url and settings.token else read_profile()
    wanted = settings.url or (profile and profile.url)
    if not wanted:
        raise InvalidInput("MUSTER_URL", "is not set and there is no profile", URL_REMEDY)
    wanted = _checked(wanted, allow_http=settings.allow_http)
    if settings.token:
        return Profile(url=wanted, token=settings.token, ca_file=settings.ca_file)
    if profile and profile.url.rstrip("/") == wanted:
        ca_file = settings.ca_file or profile.ca_file
        return Profile(url=wanted, token=profile.token, ca_file=ca_file)
    raise InvalidInput("MUSTER_TOKEN", f"is not set, and no profile is for {wanted}", TOKEN_REMEDY)


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _checked(url: str, *, allow_http: bool) -> str:
    url = url.rstrip("/")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or 80)
    except ValueError:
        usable = False
    if not usable:
        raise InvalidInput("MUSTER_URL", "is not an http or https URL", URL_REMEDY, value=url)
    if "@" in parts.netloc:
        raise InvalidInput("MUSTER_URL", "holds a user or password", "Leave it out of the URL.")
    if parts.scheme == "http" and not (allow_http or is_loopback(url)):
        raise InvalidInput(
            "MUSTER_URL",
            "would send the token unencrypted",
            "Use https, or set MUSTER_ALLOW_HTTP=1 if you trust the network between.",
            value=url,
        )
    return url
