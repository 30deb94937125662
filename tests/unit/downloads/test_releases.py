"""Direct URLs of releases: made, read, and told from all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr

from muster.downloads.fetching import Fetcher
from muster.downloads.http import Token
from muster.downloads.places import Host
from muster.downloads.releases import (
    CredentialsInUrl,
    Release,
    check_asset,
    parse_release,
    release_of,
)
from muster.downloads.settings import ASSET

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Web
    from muster.downloads.http import Http
    from muster.downloads.settings import DownloadSettings

GITHUB = Host.parse("github.com")
MIRROR = Host.parse("mirror.example:8443")
PAGES = "https://github.com/acme/muster/releases"

REPOSITORIES = st.from_regex(
    r"[A-Za-z0-9][A-Za-z0-9-]{0,8}/[A-Za-z0-9._-]{1,9}", fullmatch=True
).filter(lambda text: text.partition("/")[2] not in {".", ".."})
TAGS = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._+@-]|/[A-Za-z0-9]){0,12}", fullmatch=True).filter(
    lambda text: text != "latest"
)
ASSETS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,12}", fullmatch=True)
RELEASES = st.builds(
    Release,
    st.sampled_from([GITHUB, MIRROR, Host.parse("http://[::1]:8080")]),
    REPOSITORIES,
    st.none() | TAGS,
    ASSETS,
)


def read(text: str, host: Host = GITHUB) -> Release:
    return parse_release(text, host=host, asset="w.pyz")


@pytest.mark.failure(4)
def test_should_use_direct_github_releases_url(load: Callable[..., DownloadSettings]) -> None:
    tagged = load(WORKER_RELEASE="acme/muster@v1.2.3").worker_release
    latest = load(WORKER_RELEASE="acme/muster@latest").worker_release

    assert tagged is not None
    assert tagged.url == f"{PAGES}/download/v1.2.3/{ASSET}"
    assert latest is not None
    assert latest.url == f"{PAGES}/latest/download/{ASSET}"


@pytest.mark.failure(4)
@pytest.mark.anyio
async def test_should_not_require_authentication(
    load: Callable[..., DownloadSettings], fetcher: Fetcher, web: Web
) -> None:
    settings = load(WORKER_RELEASE="acme/muster@v1.2.3")
    assert settings.token is None
    assert settings.worker_release is not None
    stored = "https://objects.example/1?signature=x"
    web.serve(settings.worker_release.url, httpx.Response(302, headers={"Location": stored}))
    web.serve(stored, httpx.Response(200, text="the file"))

    assert (await fetcher.text(settings.worker_release.url)).text == "the file"

    assert [asked.url for asked in web.asked] == [settings.worker_release.url, stored]
    assert all("authorization" not in asked.headers for asked in web.asked)


@pytest.mark.anyio
async def test_a_token_is_sent_to_its_own_host_and_to_no_other(
    make_http: Callable[..., Http], web: Web
) -> None:
    http = make_http(token=Token(GITHUB, SecretStr("hush")))
    home, away = "https://github.com/a", "https://objects.example/b"
    web.serve(home, httpx.Response(302, headers={"Location": away}))
    web.serve(away, httpx.Response(302, headers={"Location": "https://github.com/c"}))
    web.serve("https://github.com/c", httpx.Response(200, text="the file"))

    await Fetcher(http, patience_s=1).text(home)

    sent = [asked.headers.get("authorization") for asked in web.asked]
    assert sent == ["Bearer hush", None, "Bearer hush"]


@given(RELEASES)
@example(Release(GITHUB, "a/b", "v1+cu12@x/y", "w-1.0+x.pyz"))
@example(Release(GITHUB, "a/b", "latest/1", "latest"))
@example(Release(GITHUB, "a/b", "a/releases/download/b", "c"))
def test_a_release_is_read_from_its_url(release: Release) -> None:
    assert release_of(release.url) == release
    assert parse_release(release.url, host=release.host, asset="other") == release
    assert httpx.URL(release.url).host == release.host.name


@given(RELEASES)
def test_a_release_is_read_from_its_short_form(release: Release) -> None:
    assert parse_release(str(release), host=release.host, asset=release.asset) == release


@given(RELEASES, TAGS)
def test_relatives_of_a_release_differ_in_one_thing(release: Release, tag: str) -> None:
    assert release.checksum.url == f"{release.url}.sha256"
    assert release.at(tag).url == Release(release.host, release.repository, tag, release.asset).url


@pytest.mark.parametrize(
    ("url", "tag"),
    [
        (f"{PAGES}/download/v1%2E2/w.pyz", "v1.2"),
        (f"{PAGES}/download/a%2Fb/w.pyz", "a/b"),
        ("https://GitHub.com:443/acme/muster/releases/download/v1/w.pyz", "v1"),
        (f"{PAGES}/download/v1/w.pyz?signature=x#y", "v1"),
        (f"{PAGES}/download/v1/../v2/w.pyz", "v2"),
        (f"{PAGES}/latest/download/w.pyz", None),
    ],
)
def test_other_spellings_of_a_url(url: str, tag: str | None) -> None:
    assert read(url) == Release(GITHUB, "acme/muster", tag, "w.pyz")


@pytest.mark.failure(4)
@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("https://api.github.com/repos/acme/muster/releases/latest", "latest/download/w.pyz"),
        ("https://api.github.com/repos/acme/muster/releases/tags/v1", "download/v1/w.pyz"),
        ("https://api.github.com/repos/acme/muster/releases/tags/a%2Fb", "download/a/b/w.pyz"),
        ("https://git.example/api/v3/repos/acme/muster/releases/latest", "latest/download/w.pyz"),
    ],
)
def test_an_api_s_url_is_refused_with_the_right_one(text: str, right: str) -> None:
    with pytest.raises(ValueError, match="an API's address, which is limited and") as refused:
        read(text)

    assert str(refused.value).endswith(f"; use {PAGES}/{right}")


@pytest.mark.failure(4)
@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("http://github.com/acme/muster/releases/download/v1/w.pyz", "download/v1/w.pyz"),
        ("http://github.com:8080/acme/muster/releases/latest/download/x", "latest/download/x"),
    ],
)
def test_a_url_without_tls_is_refused_with_the_one_that_has_it(text: str, right: str) -> None:
    with pytest.raises(ValueError, match="it is not encrypted") as refused:
        read(text)

    assert str(refused.value).endswith(f"; use {PAGES}/{right}")


def test_a_host_that_has_no_tls_is_spoken_to_without_it() -> None:
    plain = Host.parse("http://mirror.example:8080")

    assert read("a/b@v1", plain).url == "http://mirror.example:8080/a/b/releases/download/v1/w.pyz"
    assert read(read("a/b@v1", plain).url, plain) == read("a/b@v1", plain)


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        (
            "https://u:hush@github.com/acme/muster/releases/download/v1/w.pyz",
            f"{PAGES}/download/v1/w.pyz",
        ),
        (
            "https://hush@api.github.com/repos/acme/muster/releases/latest",
            f"{PAGES}/latest/download/w.pyz",
        ),
        ("https://u:hush@github.com/acme/muster", "the direct URL of the file"),
        ("ftp://u:hush@github.com/acme", "the direct URL of the file"),
    ],
)
def test_credentials_are_never_shown(text: str, instead: str) -> None:
    with pytest.raises(CredentialsInUrl, match=r"^holds a user or password$") as refused:
        read(text)

    assert refused.value.instead.endswith(instead)
    assert "hush" not in refused.value.instead


@pytest.mark.parametrize(
    "text",
    [
        PAGES,
        f"{PAGES}/latest",
        f"{PAGES}/download/v1",
        f"{PAGES}/download/v1/",
        f"{PAGES}/download/latest/w.pyz",
        f"{PAGES}/download/v%2531/w.pyz",
        "https://github.com/acme/muster/archive/refs/tags/v1.tar.gz",
        "https://api.github.com/repos/acme/muster/releases/assets/1",
        "https://github.com:x/acme/muster/releases/download/v1/w.pyz",
        "github.com/acme/muster/releases/download/v1/w.pyz",
        "acme/muster",
        "acme/muster@",
        "@v1",
        "",
    ],
)
def test_what_names_no_file_of_a_release_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^it is not (a|an|the|owner).*"):
        read(text)

    assert release_of(text) is None


SNEAKY = [
    "..",
    ".",
    "../x",
    "x/..",
    "x/../y",
    "x//y",
    "/x",
    "x/",
    "-x",
    ".x",
    "x y",
    "x\n",
    "x%2fy",
]


@pytest.mark.parametrize("part", [*SNEAKY, "x/.y", "x\\y", "x?y", "x#y", "ü"])
def test_tags_that_lead_elsewhere_are_refused(part: str) -> None:
    with pytest.raises(ValueError, match="it is not owner/repo@"):
        read(f"acme/muster@{part}")


# ".x" and "-x" are names of repositories, if odd ones.
REPOSITORIES_ELSEWHERE = [f"acme/{part}@v1" for part in [*SNEAKY, "x/y"] if part[1:] != "x"]


@pytest.mark.parametrize(
    "text", [*REPOSITORIES_ELSEWHERE, *(f"{part}/muster@v1" for part in [*SNEAKY, "a/b"])]
)
def test_owners_and_repositories_that_lead_elsewhere_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="it is not owner/repo@"):
        read(text)


@pytest.mark.parametrize("part", [*SNEAKY, "x/y", "x@y", "", "x" * 201])
def test_assets_that_lead_elsewhere_are_refused(part: str) -> None:
    with pytest.raises(ValueError, match="is not a file's name"):
        check_asset(part)
    with pytest.raises(ValueError, match="is not a file's name"):
        parse_release("acme/muster@v1", host=GITHUB, asset=part)


@pytest.mark.parametrize(
    "path",
    [
        "acme/muster/releases/download/..%2F..%2F/w.pyz",
        "acme/muster/releases/download/v1/..%2Fw.pyz",
        "acme/muster/releases/download/v1/.w.pyz",
        "acme/%2E%2E/releases/download/v1/w.pyz",
        "acme/muster/releases/download/v1%2F%2E%2E/w.pyz",
        "acme/muster/releases/download/v1/w.pyz%00",
        "acme/muster/releases/download/v1/w.pyz%0A",
        "acme/muster/releases/download/v1/%252e%252e",
        "-acme/muster/releases/download/v1/w.pyz",
    ],
)
def test_urls_that_lead_elsewhere_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="it is not the direct URL"):
        read(f"https://github.com/{path}")


@pytest.mark.parametrize("text", ["a/b@{}", f"{PAGES}/download/{{}}/w.pyz"])
def test_a_tag_has_at_most_100_characters(text: str) -> None:
    assert read(text.format("v" * 100)).tag == "v" * 100

    with pytest.raises(ValueError, match=r"tag is longer than 100|is not the direct URL"):
        read(text.format("v" * 101))


@given(st.text(st.sampled_from("ab/@.:%2Fhtps?#\\-"), max_size=30))
def test_any_text_is_a_release_of_the_host_or_refused(text: str) -> None:
    try:
        release = read(text)
    except ValueError:
        return

    assert read(release.url) == release
    assert "/.." not in release.url
