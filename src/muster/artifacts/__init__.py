"""Where the files of jobs live: a local folder or object storage."""

from __future__ import annotations

from muster.artifacts.model import Artifact, ArtifactMismatch, ArtifactsUnavailable
from muster.artifacts.store import ArtifactStore

__all__ = ["Artifact", "ArtifactMismatch", "ArtifactStore", "ArtifactsUnavailable"]
