from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from dotenv import dotenv_values
from hypothesis import example, given
from hypothesis import strategies as st

from muster.client.profile import write_private
from muster.errors import InvalidInput
from muster.machine import envfile
from muster.settings import RedisSettings

if TYPE_CHECKING:
    from pathlib import Path

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\x00")) | st.text("${}\\'\"# =\n")


@given(variables=st.dictionaries(NAMES, VALUES))
@example(variables={"A": "\\", "B": '"'})
@example(variables={"A": "${HOME}", "HOME": "${A:-x}"})
@example(variables={"A": "x # y", "B": "line\r\nend\r", "C": "'\\'\\\""})
def test_python_dotenv_reads_back_what_was_written(
    variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "round-trip.env"

    write_private(file, envfile.render(variables))

    assert dotenv_values(file) == variables


@pytest.mark.parametrize("name", ["", "1A", "A B", "A=B", "A\nB", "Ä"])
def test_refuses_what_is_no_name(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"^variable: "):
        envfile.render({name: "value"})


def test_settings_read_a_password_whatever_its_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    url = "redis://:pa$${HOME}'\"\\%23@redis:6379/0"

    write_private(tmp_path / ".env", envfile.render({"REDIS_URL": url}))

    settings = RedisSettings.load(env_file=tmp_path / ".env")
    assert settings.redis_url.get_secret_value() == url
    assert os.stat(tmp_path / ".env").st_mode & 0o777 == 0o600  # noqa: PTH116
