"""Which server the client speaks to, and where it shows its token."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from muster.client.profile import Profile, profile_path, read_profile, write_profile
from muster.client.target import find_server
from muster.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

HOME = Profile(url="https://home.example", token=SecretStr("home-token"))


def found(url: str | None = None, token: str | None = None) -> tuple[str, str]:
    server = find_server(url, token)
    return server.url, server.token.get_secret_value()


def test_arguments_win_over_the_environment_and_that_over_the_profile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_profile(HOME)
    assert found() == ("https://home.example", "home-token")

    monkeypatch.setenv("MUSTER_URL", "https://env.example/")
    monkeypatch.setenv("MUSTER_TOKEN", "env-token")
    assert found() == ("https://env.example", "env-token")

    assert found("https://arg.example", "arg-token") == ("https://arg.example", "arg-token")


def test_the_profiles_token_is_shown_to_the_profiles_server_only() -> None:
    write_profile(HOME)

    assert found("https://home.example/")[1] == "home-token"
    with pytest.raises(InvalidInput, match="MUSTER_TOKEN"):
        find_server("https://elsewhere.example")


def test_without_a_url_the_remedy_is_told() -> None:
    with pytest.raises(InvalidInput, match="muster up"):
        find_server()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8700", "http://localhost:1", "http://[::1]:8700", "https://a.example"]
)
def test_tokens_go_encrypted_or_to_this_machine(url: str) -> None:
    assert found(url, "t") == (url, "t")


@pytest.mark.parametrize("url", ["http://a.example", "http://10.0.0.1:8700", "http://127.0.0.1.x"])
def test_tokens_go_unencrypted_over_a_network_only_where_that_is_allowed(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    with pytest.raises(InvalidInput, match="unencrypted"):
        find_server(url, "t")

    monkeypatch.setenv("MUSTER_ALLOW_HTTP", "1")
    assert found(url, "t") == (url, "t")


@pytest.mark.parametrize(
    "url", ["nonsense", "ftp://a.example", "https://", "http://h:99999", "//h"]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="MUSTER_URL"):
        find_server(url, "t")


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidInput) as raised:
        find_server("https://me:s3cret@a.example", "t")

    assert "s3cret" not in str(raised.value)


def test_a_profile_is_for_its_owner_only() -> None:
    path = write_profile(HOME)

    assert path == profile_path()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "home-token" not in repr(read_profile())


@pytest.mark.parametrize("content", ["not toml", 'url = "https://a.example"\n', b"\xff"])
def test_a_file_that_is_no_profile_is_named(content: str | bytes, tmp_path: Path) -> None:
    path = tmp_path / "profile.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(InvalidInput, match=str(path)):
        read_profile(path)


@given(url=st.text(), token=st.text())
def test_any_profile_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, url: str, token: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any-profile.toml"
    profile = Profile(url=url, token=SecretStr(token))

    write_profile(profile, path)

    assert read_profile(path) == profile
