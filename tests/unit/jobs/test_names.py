"""What may be called what."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from muster.jobs.model import JobRequest, Requirements

HOSTILE = [
    "render; rm -rf ~",
    "render && true",
    "$(id)",
    "`id`",
    "render|sh",
    "render\nid",
    "render ",
    "'render'",
    "-render",
    "../render",
    "",
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.failure(24)
def test_what_a_shell_would_take_apart_names_nothing(name: str) -> None:
    with pytest.raises(ValidationError):
        JobRequest(service=name, payload={})
    with pytest.raises(ValidationError):
        Requirements(models=frozenset({name}))
    with pytest.raises(ValidationError):
        Requirements(labels={"region": name})


@pytest.mark.parametrize("name", ["comfyui", "sdxl-1.0", "acme/flux@v2", "flux:dev+fp8", "a_b"])
def test_what_people_call_services_and_models_is_a_name(name: str) -> None:
    assert JobRequest(service=name, payload={}).service == name
