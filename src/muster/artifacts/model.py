"""What an artifact is, and what can go wrong with one."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from muster.errors import MusterError


class Artifact(BaseModel):
    """A stored file: its URL, its size in bytes and its SHA-256 in lower-case hexadecimal."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ArtifactsUnavailable(MusterError):
    """The artifact store does not answer as it should. Check ARTIFACTS_URL and its credentials."""


class ArtifactMismatch(MusterError):
    """A stored file is not what it was said to be."""
