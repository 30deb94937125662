"""What Muster raises on purpose. A class's docstring is its default message."""

from __future__ import annotations


class MusterError(Exception):
    """Muster could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class InvalidInput(MusterError):
    """A value that was given cannot be used.

    ``field`` is the name that the user knows it by (an environment variable, an option, a JSON
    path), ``problem`` what is wrong with the value, ``remedy`` what to do. ``value`` is left out
    of the message when it is None, as it must be for secrets.
    """

    def __init__(self, field: str, problem: str, remedy: str, *, value: object = None) -> None:
        self.field = field
        self.problem = problem
        self.remedy = remedy
        self.shown = None if value is None else shorten(value)
        shown = "" if self.shown is None else f"{self.shown} "
        super().__init__(f"{field}: {shown}{problem}. {remedy}")


class RedisUnavailable(MusterError):
    """Redis cannot be used. Check REDIS_URL and that the server runs."""


class NotFound(MusterError):
    """There is nothing of that name."""


class Conflict(MusterError):
    """The present state does not allow this."""


class Busy(MusterError):
    """The system takes no more for now. Try again after ``retry_after`` seconds."""

    def __init__(self, message: str | None = None, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ProtocolMismatch(MusterError):
    """The two sides speak protocol versions too far apart."""


def shorten(value: object, limit: int = 80) -> str:
    """Return a value as a message shows it."""
    shown = repr(value)
    return shown if len(shown) <= limit else f"{shown[:limit]}… ({len(shown)} characters)"
