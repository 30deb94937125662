"""What the server reads from its environment."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (pydantic needs it at run time)

import platformdirs
from pydantic import Field

from muster.settings import RedisSettings

MIB = 1024 * 1024


class ServerSettings(RedisSettings):
    """Where the server listens, whom it lets in, and what it takes. Sizes are in bytes."""

    host: str = Field(
        alias="MUSTER_HOST",
        default="127.0.0.1",
        min_length=1,
        description="Use the address to listen on: 127.0.0.1 for this machine only, "
        "0.0.0.0 for all networks (then put TLS in front).",
    )
    port: int = Field(
        alias="MUSTER_PORT",
        default=8700,
        ge=1,
        le=65535,
        description="Use a free TCP port from 1 to 65535.",
    )
    tokens_file: Path = Field(
        alias="MUSTER_TOKENS_FILE",
        default_factory=lambda: platformdirs.user_config_path("muster") / "tokens.toml",
        description="Use the path of the file that `muster token add` writes.",
    )
    body_bytes: int = Field(
        alias="MUSTER_BODY_BYTES",
        default=16 * MIB,
        ge=1024,
        description="Use the size in bytes of the largest request to read, at least 1024.",
    )
    payload_bytes: int = Field(
        alias="MUSTER_PAYLOAD_BYTES",
        default=256 * 1024,
        ge=1024,
        description="Use the size in bytes of the largest job to take, at least 1024.",
    )
    wait_replicas: int = Field(
        alias="MUSTER_WAIT_REPLICAS",
        default=0,
        ge=0,
        le=16,
        description="Use the number of Redis replicas, 0 to 16, that must hold a job before it is "
        "acknowledged.",
    )
