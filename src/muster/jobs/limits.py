"""How much the queue takes, and for how long it keeps what is over."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Retention(BaseModel):
    """For how long, and how many, finished jobs of one state are kept."""

    model_config = ConfigDict(frozen=True)

    age_s: float = Field(gt=0)
    count: int = Field(ge=0)


class Limits(BaseModel):
    """The queue's limits. Sizes are in bytes of JSON.

    ``watermark`` is the share of Redis's memory at which submissions are refused, so that results
    still find room.
    """

    model_config = ConfigDict(frozen=True)

    payload_bytes: int = Field(default=256 * 1024, gt=0)
    result_bytes: int = Field(default=256 * 1024, gt=0)
    error_bytes: int = Field(default=8 * 1024, gt=0)
    bulk: int = Field(default=1000, gt=0)
    classes: int = Field(default=1000, gt=0)
    watermark: float = Field(default=0.85, gt=0, le=1)
    completed: Retention = Retention(age_s=24 * 3600, count=100_000)
    failed: Retention = Retention(age_s=7 * 24 * 3600, count=100_000)
    cancelled: Retention = Retention(age_s=24 * 3600, count=100_000)
