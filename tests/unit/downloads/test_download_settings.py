"""Settings of downloads: what is refused, with what a user needs to mend it and no secret."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from muster.downloads.places import Host
from muster.downloads.releases import Release
from muster.errors import InvalidInput, shorten

if TYPE_CHECKING:
    from collections.abc import Callable

    from muster.downloads.settings import DownloadSettings

    Load = Callable[..., DownloadSettings]

DIGEST = "0123456789abcdef" * 4
FILE = "acme/muster/releases/download/v1/w.pyz"


def test_nothing_has_to_be_set(load: Load) -> None:
    settings = load()

    assert settings.worker_release is None
    assert settings.token is None
    assert not settings.worker_release_fallback
    assert settings.store_dir == settings.data_dir / "store"
    assert settings.release_host == Host("https", "github.com", 443)
    assert settings.places.check("https://release-assets.githubusercontent.com/1?sig=x")
    assert settings.worker_release_asset.endswith(".pyz")


REFUSED = [
    ("MUSTER_DATA_DIR", "data", "is not absolute", "absolute path"),
    ("MUSTER_STORE_DIR", "./store", "is not absolute", "absolute path"),
    ("DOWNLOAD_HOSTS", "h,github.com/acme", "'github.com/acme' is more than", "commas between"),
    ("DOWNLOAD_HOSTS", "a.example b.example", "is not the name of a host", "commas between"),
    ("DOWNLOAD_HOSTS", "ftp://h", "not an http or https URL", "commas between"),
    ("DOWNLOAD_HOSTS", "h:port", "it is not a URL", "commas between"),
    ("RELEASE_HOST", "github.com/acme", "is more than a host", "https://github.com"),
    ("RELEASE_HOST", "", "is not an http or https URL", "https://github.com"),
    ("RELEASE_HOST", "ssh://github.com", "is not an http or https URL", "https://github.com"),
    ("WORKER_RELEASE_ASSET", "../w.pyz", "is not a file's name", "`nox -s package`"),
    ("WORKER_RELEASE_ASSET", "", "is not a file's name", "`nox -s package`"),
    ("WORKER_RELEASE", "acme/muster", "it is not owner/repo@v1.2.3", "unset it to run"),
    ("WORKER_RELEASE", "", "it is not owner/repo@v1.2.3", "unset it to run"),
    ("WORKER_RELEASE", "a/b@" + "v" * 101, "longer than 100", "owner/repo@latest"),
    (
        "WORKER_RELEASE",
        "https://api.github.com/repos/a/b/releases/latest",
        "use https://github.com/a/b/releases/latest/download/",
        "owner/repo@latest",
    ),
    (
        "WORKER_RELEASE",
        f"http://github.com/{FILE}",
        f"not encrypted; use https://github.com/{FILE}",
        "owner/repo@latest",
    ),
    (
        "WORKER_RELEASE",
        f"https://evil.example/{FILE}",
        "https://evil.example is not among the hosts that are allowed (https://github.com,",
        "owner/repo@latest",
    ),
    ("WORKER_RELEASE_SHA256", DIGEST[1:], "it is not a SHA-256", "64 hexadecimal digits"),
    ("WORKER_RELEASE_SHA256", f"{DIGEST}0", "it is not a SHA-256", "64 hexadecimal digits"),
    ("WORKER_RELEASE_SHA256", f"sha512:{DIGEST}", "it is not a SHA-256", "64 hexadecimal digits"),
    ("WORKER_RELEASE_SHA256", f"g{DIGEST[1:]}", "it is not a SHA-256", "64 hexadecimal digits"),
    ("WORKER_RELEASE_SHA256", f"{DIGEST}\n", "it is not a SHA-256", "64 hexadecimal digits"),
    ("WORKER_RELEASE_SHA256", "", "it is not a SHA-256", "64 hexadecimal digits"),
    ("WORKER_RELEASE_FALLBACK", "perhaps", "valid boolean", "Use 1 to start"),
    ("DOWNLOAD_PATIENCE_S", "0", "greater than 0", "Use the seconds"),
    ("DOWNLOAD_PATIENCE_S", "86401", "less than or equal to 86400", "Use the seconds"),
    ("DOWNLOAD_PATIENCE_S", "inf", "less than or equal to 86400", "Use the seconds"),
    ("DOWNLOAD_PATIENCE_S", "nan", "less than or equal", "Use the seconds"),
    ("DOWNLOAD_PATIENCE_S", "long", "valid number", "Use the seconds"),
    ("MODEL_BUDGET", "0", "greater than 0", "200GiB"),
    ("MODEL_BUDGET", "-1GiB", "could not parse", "200GiB"),
    ("MODEL_BUDGET", "much", "could not parse", "200GiB"),
    ("MODELS_KEPT", "base,no blanks", "match pattern", "commas between"),
    ("MODEL_FETCHES", "0", "greater than or equal to 1", "how many machines"),
    ("MODEL_FETCHES", "1001", "less than or equal to 1000", "how many machines"),
    ("MODEL_FETCHES", "1.5", "valid integer", "how many machines"),
]


@pytest.mark.parametrize(("variable", "value", "problem", "remedy"), REFUSED)
def test_a_bad_value_is_refused_with_its_name_the_value_and_the_remedy(
    variable: str, value: str, problem: str, remedy: str, load: Load
) -> None:
    with pytest.raises(InvalidInput) as refused:
        load(**{variable: value})

    message = str(refused.value)
    assert message.startswith(f"{variable}: ")
    assert problem in message
    assert remedy in refused.value.remedy
    assert shorten("no blanks" if variable == "MODELS_KEPT" else value) in message


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DOWNLOAD_HOSTS", "github.com,https://u:hush@mirror.example"),
        ("DOWNLOAD_HOSTS", "u:hu/hush@mirror.example"),
        ("RELEASE_HOST", "https://u:hush@mirror.example"),
        ("RELEASE_HOST", "hush@mirror.example"),
        ("RELEASE_HOST", "https://u:hush/@mirror.example"),
        ("WORKER_RELEASE", f"https://u:hush@github.com/{FILE}"),
        ("WORKER_RELEASE", f"https://u:hu/hush@github.com/{FILE}"),
        ("WORKER_RELEASE", f"https://u:hu#hush@github.com/{FILE}"),
        ("WORKER_RELEASE", f"https://u:hu@hush@github.com/{FILE}"),
        ("WORKER_RELEASE", f"http://hush@github.com/{FILE}"),
        ("WORKER_RELEASE", f"u:hush@github.com/{FILE}"),
        ("WORKER_RELEASE", f"https://u:hush@evil.example/{FILE}"),
        ("WORKER_RELEASE", f"https://evil.example/{FILE}?signature=hush"),
        ("WORKER_RELEASE", "https://u:hush@api.github.com/repos/a/b/releases/latest"),
        ("WORKER_RELEASE", "https://api.github.com/repos/a/b/releases/latest?token=hush"),
    ],
)
def test_no_message_shows_a_password(variable: str, value: str, load: Load) -> None:
    with pytest.raises(InvalidInput, match=rf"^{variable}: .* Use .*") as refused:
        load(**{variable: value})

    error: BaseException | None = refused.value
    assert "hush" not in str(error)
    assert "hush" not in refused.value.remedy
    assert error.__suppress_context__ or error.__context__ is None


@pytest.mark.parametrize(
    "token", ["", "hush\n", "a hush", " hush", "hush\r\nX-Other: 1", "hushü", "hush\x7f"]
)
def test_a_token_that_no_header_can_hold_is_refused_unseen(token: str, load: Load) -> None:
    with pytest.raises(
        InvalidInput, match=r"^RELEASE_TOKEN: is refused: .* Use a token"
    ) as refused:
        load(RELEASE_TOKEN=token)

    assert "hush" not in str(refused.value)


def test_a_token_is_not_sent_unencrypted(load: Load) -> None:
    with pytest.raises(InvalidInput, match=r"^RELEASE_TOKEN: .* to http://h:8080 un") as refused:
        load(RELEASE_TOKEN="hush", RELEASE_HOST="http://h:8080")

    assert "hush" not in str(refused.value)


def test_a_token_belongs_to_the_release_host_and_is_not_printed(load: Load) -> None:
    settings = load(RELEASE_TOKEN="hush", RELEASE_HOST="git.example:8443")

    assert settings.token is not None
    assert settings.token.host == Host("https", "git.example", 8443)
    assert settings.token.secret.get_secret_value() == "hush"
    assert "hush" not in repr(settings) + repr(settings.token)


@pytest.mark.parametrize("value", [DIGEST, DIGEST.upper(), f"sha256:{DIGEST}"])
def test_forms_of_a_digest(value: str, load: Load) -> None:
    assert load(WORKER_RELEASE_SHA256=value).worker_release_sha256 == DIGEST


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("mirror.example", "https://mirror.example/1"),
        (" a.example , mirror.example:8443 ,", "https://mirror.example:8443/1"),
        ("http://mirror.example", "http://mirror.example/1"),
        ("http://[::1]:8080,[2001:db8::7]", "http://[::1]:8080/1"),
        ("http://[::1]:8080,[2001:db8::7]", "https://[2001:db8::7]/1"),
    ],
)
def test_forms_of_hosts(value: str, url: str, load: Load) -> None:
    settings = load(DOWNLOAD_HOSTS=value)

    assert settings.places.check(url)
    assert settings.places.check("https://github.com/1"), "the release host is always allowed"
    with pytest.raises(ValueError, match="not among"):
        settings.places.check("https://objects.githubusercontent.com/1")


def test_hosts_may_be_none_but_the_release_host(load: Load) -> None:
    assert load(DOWNLOAD_HOSTS="").download_hosts == frozenset()


def test_short_forms_mean_the_release_host_and_the_asset(load: Load) -> None:
    settings = load(
        RELEASE_HOST="http://git.example:8080",
        WORKER_RELEASE_ASSET="w.pyz",
        WORKER_RELEASE="acme/muster@v1",
    )

    host = Host("http", "git.example", 8080)
    assert settings.worker_release == Release(host, "acme/muster", "v1", "w.pyz")


def test_a_release_may_come_from_any_host_that_is_allowed(load: Load) -> None:
    url = f"http://[::1]:8080/{FILE}"

    release = load(DOWNLOAD_HOSTS="http://[::1]:8080", WORKER_RELEASE=url).worker_release

    assert release is not None
    assert release.url == url


def test_the_first_thing_to_mend_is_told_first(load: Load) -> None:
    with pytest.raises(InvalidInput, match=r"^RELEASE_HOST: "):
        load(RELEASE_HOST="a/b", WORKER_RELEASE="nonsense")
    with pytest.raises(InvalidInput, match=r"^WORKER_RELEASE_ASSET: "):
        load(RELEASE_HOST="h", WORKER_RELEASE_ASSET="a/b", WORKER_RELEASE="acme/muster@v1")
    with pytest.raises(InvalidInput, match=r"^DOWNLOAD_HOSTS: "):
        load(DOWNLOAD_HOSTS="a/b", WORKER_RELEASE=f"https://a/{FILE}")


def test_other_settings(load: Load) -> None:
    settings = load(
        MUSTER_DATA_DIR="/data",
        WORKER_RELEASE_FALLBACK="1",
        DOWNLOAD_PATIENCE_S="0.5",
        MODEL_BUDGET="200GiB",
        MODELS_KEPT=" base, org/refiner:v1 ,",
        MODEL_CATALOGUE="models.toml",
    )

    assert settings.store_dir == Path("/data/store")
    assert settings.worker_release_fallback is True
    assert settings.download_patience_s == 0.5
    assert settings.model_budget == 200 * 1024**3
    assert settings.models_kept == {"base", "org/refiner:v1"}
    assert settings.model_catalogue == Path("models.toml")
