"""What a file must be, and the check that it is."""

from __future__ import annotations

from dataclasses import dataclass

from muster.downloads.errors import ContentMismatch


@dataclass(frozen=True, slots=True)
class Content:
    """What a file must be: its SHA-256 in lower-case hexadecimal, its size where it is known."""

    sha256: str
    size: int | None = None

    def check(self, file: str, *, size: int, sha256: str) -> None:
        """Raise ``ContentMismatch``, about ``file``, unless size and digest are those wanted."""
        if self.size is not None and size != self.size:
            raise ContentMismatch(
                file, "size", expected=f"{self.size} bytes", found=f"{size} bytes"
            )
        if sha256 != self.sha256:
            raise ContentMismatch(file, "SHA-256", expected=self.sha256, found=sha256)
