"""Which paths a store takes. A path that is refused never reaches the disk or the bucket."""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit

from muster.errors import InvalidInput

SCHEMES = ("file", "s3", "gs", "az", "memory")


def checked_base(url: str) -> str:
    """Return a store's URL without a trailing slash.

    Raises ``InvalidInput``, without the value: what is refused here may hold a credential.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        schemes = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise InvalidInput("ARTIFACTS_URL", "has an unknown scheme", f"Use one of {schemes}.")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise InvalidInput(
            "ARTIFACTS_URL",
            "holds a user, a password or parameters",
            "Give only the place; credentials come from the environment (AWS_…, GOOGLE_…).",
        )
    if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise InvalidInput(
            "ARTIFACTS_URL",
            "does not name a folder of this machine",
            "Use three slashes and an absolute path, for example file:///var/lib/muster/artifacts.",
        )
    return url.rstrip("/") if parts.scheme != "memory" else "memory://"


def checked_path(path: str) -> str:
    """Return ``path`` if it is relative, plain and stays inside the store. Raises ``InvalidInput``.

    The limit of 255 bytes a name is that of common file systems, 1024 bytes in all that of S3.
    """
    for name in path.split("/"):
        problem = _problem(name)
        if problem:
            raise InvalidInput(
                "artifact path", f"has a name that {problem}", "Use plain names.", value=path
            )
    if len(path.encode()) > 1024:
        raise InvalidInput("artifact path", "is longer than 1024 bytes", "Shorten it.", value=path)
    return path


def url_of(base: str, path: str) -> str:
    """Return the URL of ``path`` in the store at ``base``."""
    return f"{base}/{quote(path)}"


def path_of(base: str, url: str) -> str:
    """Return the path in the store at ``base`` that ``url`` names. Raises ``InvalidInput``."""
    if not url.startswith(f"{base}/"):
        raise InvalidInput(
            "artifact URL", "is not in this artifact store", f"Use a URL that starts with {base}/."
        )
    return checked_path(unquote(url.removeprefix(f"{base}/")))


def _problem(name: str) -> str | None:
    if name in {"", ".", ".."}:
        return "is empty, a dot or two dots"
    if "\\" in name or not name.isprintable():
        return "holds a backslash or an unprintable character"
    if len(name.encode()) > 255:
        return "is longer than 255 bytes"
    return None
