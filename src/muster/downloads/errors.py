"""What can go wrong on the way from a server to a verified file."""

from __future__ import annotations

from muster.errors import MusterError


class DownloadFailed(MusterError):
    """A download cannot be had, now or at all.

    ``url`` is where from, without a query, which may hold a signature.
    """

    def __init__(self, url: str, problem: str, remedy: str) -> None:
        self.url = url.partition("?")[0]
        self.problem = problem
        super().__init__(f"{self.url}: {problem}. {remedy}")


class ContentMismatch(MusterError):
    """A file is not what it was said to be, and is not used."""

    def __init__(self, file: str, what: str, *, expected: object, found: object) -> None:
        self.file = file
        self.expected = expected
        self.found = found
        super().__init__(f"{file} is refused: its {what} should be {expected}, but is {found}.")


class NoSpace(MusterError):
    """The disk has no room for a download."""


class UnsafeArchive(MusterError):
    """An archive holds what could do harm when unpacked; nothing of it was unpacked."""

    def __init__(self, archive: str, problem: str) -> None:
        super().__init__(f"{archive} is refused: {problem}. Nothing of it was unpacked.")
