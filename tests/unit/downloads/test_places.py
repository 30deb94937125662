"""Hosts as they are written, and URLs that may be fetched."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from muster.downloads.places import Host, Places, parse_url, without_credentials

PLACES = Places(
    frozenset({Host.parse("github.com"), Host.parse("http://[::1]:8080"), Host.parse("h:8443")})
)
HOSTS = st.builds(
    Host,
    st.sampled_from(["https", "http"]),
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,9}\.){0,2}[a-z]{1,5}", fullmatch=True)
    | st.ip_addresses(v=4).map(str)
    | st.ip_addresses(v=6).map(str),
    st.sampled_from([80, 443]) | st.integers(0, 65_535),
)


@given(HOSTS)
@example(Host("https", "::1", 443))
@example(Host("https", "h", 80))
@example(Host("http", "h", 443))
@example(Host("https", "h", 0))
def test_a_host_is_read_as_it_is_written(host: Host) -> None:
    assert Host.parse(str(host)) == host


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("github.com", Host("https", "github.com", 443)),
        ("GitHub.com", Host("https", "github.com", 443)),
        ("https://github.com:443/", Host("https", "github.com", 443)),
        ("mirror:8443", Host("https", "mirror", 8443)),
        ("http://mirror", Host("http", "mirror", 80)),
        ("http://mirror:443", Host("http", "mirror", 443)),
        ("10.0.0.7:8080", Host("https", "10.0.0.7", 8080)),
        ("[2001:DB8::1]:8443", Host("https", "2001:db8::1", 8443)),
        ("http://[::1]", Host("http", "::1", 80)),
    ],
)
def test_forms_of_a_host(text: str, host: Host) -> None:
    assert Host.parse(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://",
        "github.com/owner",
        "github.com?x",
        "github.com/#x",
        "github.com objects.example",
        "github.com,objects.example",
        "*.github.com",
        "github%2ecom",
        "git\\hub.com",
        "ftp://github.com",
        "::1",
        "h:port",
        "h:8443:1",
        "github.com\n",
        "\ud800",
    ],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^('.*'|it) is (not |more than )"):
        Host.parse(text)


@pytest.mark.parametrize("text", ["u:hush@h", "https://u:hush@h", "hush@h:1", "http://:hush@[::1]"])
def test_credentials_are_refused_unseen(text: str) -> None:
    with pytest.raises(ValueError, match=r"^it holds a user or password$"):
        Host.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://github.com/a?b=c",
        "https://GITHUB.com:443/a",
        "http://[::1]:8080/a",
        "https://h:8443",
        "https://github.com/@evil.example",
    ],
)
def test_urls_at_allowed_hosts_are_taken(text: str) -> None:
    assert PLACES.check(text) == parse_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.example/github.com",
        "https://github.com.evil.example/",
        "https://evilgithub.com/",
        "https://github.com.",
        "http://github.com/",
        "https://github.com:8443/",
        "https://github.com:0/",
        "https://[::1]:8080/",
        "http://[::1]/",
        "https://h/",
        "https://evil.example\\github.com/",
    ],
)
def test_urls_elsewhere_are_refused_with_the_hosts_that_are_allowed(text: str) -> None:
    allowed = r"\(http://\[::1\]:8080, https://github\.com, https://h:8443\)$"

    with pytest.raises(ValueError, match=rf"is not among the hosts that are allowed {allowed}"):
        PLACES.check(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://github.com@evil.example/",
        "https://u:hush@github.com/",
        "//github.com/a",
        "file:///etc/passwd",
        "github.com/a",
        "https:///a",
        "https://github.com:x/",
        "",
    ],
)
def test_what_is_no_plain_url_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^it (holds|is not)") as refused:
        PLACES.check(text)

    assert "hush" not in str(refused.value)


@given(st.text(st.sampled_from("https:/@github.com\\?#[]%0e \t"), max_size=40))
@example("https://github.com\t@evil.example")
@example("https://github.com\\@evil.example")
def test_no_text_gets_past_the_list(text: str) -> None:
    try:
        url = PLACES.check(text)
    except ValueError:
        return

    assert (url.scheme, url.host, url.port) in {
        ("https", "github.com", None),
        ("https", "h", 8443),
        ("http", "::1", 8080),
    }


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("https://u:p@h:1/a@b", "https://h:1/a@b"),
        ("https://u@x:p@h", "https://h"),
        ("https://h/a@b", "https://h/a@b"),
    ],
)
def test_credentials_are_taken_out_of_a_url(text: str, plain: str) -> None:
    assert without_credentials(text) == plain
