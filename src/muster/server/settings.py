"""What the server reads from its environment."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (pydantic needs it at run time)
from typing import Self

import platformdirs
from pydantic import Field, FilePath, model_validator

from muster.errors import InvalidInput
from muster.settings import RedisSettings

MIB = 1024 * 1024


class ServerSettings(RedisSettings):
    """Where the server listens, whom it lets in, and what it takes. Sizes are in bytes."""

    host: str = Field(
        alias="MUSTER_HOST",
        default="127.0.0.1",
        min_length=1,
        description="Use the address to listen on: 127.0.0.1 for this machine only, "
        "0.0.0.0 for all networks (then give it a certificate, or put TLS in front).",
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
    viewers: int = Field(
        alias="MUSTER_VIEWERS",
        default=1000,
        ge=1,
        description="Use how many live streams may be open at once, at least 1.",
    )
    viewers_per_user: int = Field(
        alias="MUSTER_VIEWERS_PER_USER",
        default=100,
        ge=1,
        description="Use how many live streams one token may have open, at least 1.",
    )
    viewers_per_address: int = Field(
        alias="MUSTER_VIEWERS_PER_ADDRESS",
        default=100,
        ge=1,
        description="Use how many live streams one address may have open, at least 1.",
    )
    metrics_open: bool = Field(
        alias="MUSTER_METRICS_OPEN",
        default=False,
        description="Use 1 to show /metrics to whoever asks, 0 to ask for a token.",
    )
    wait_replicas: int = Field(
        alias="MUSTER_WAIT_REPLICAS",
        default=0,
        ge=0,
        le=16,
        description="Use the number of Redis replicas, 0 to 16, that must hold a job before it is "
        "acknowledged.",
    )
    tls_cert_file: FilePath | None = Field(
        alias="MUSTER_TLS_CERT_FILE",
        default=None,
        description="Use the path of the server's certificate, a PEM file with the chain to its "
        "authority; with it, and MUSTER_TLS_KEY_FILE, the server speaks TLS and nothing else.",
    )
    tls_key_file: FilePath | None = Field(
        alias="MUSTER_TLS_KEY_FILE",
        default=None,
        description="Use the path of the certificate's key, a PEM file without a password.",
    )

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        if (self.tls_cert_file is None) is not (self.tls_key_file is None):
            raise InvalidInput(
                "MUSTER_TLS_CERT_FILE and MUSTER_TLS_KEY_FILE",
                "are not set together",
                "Set both for TLS, or neither.",
            )
        return self
