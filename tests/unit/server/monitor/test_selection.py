"""Which rows a page shows, and what a URL may ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.errors import InvalidInput
from muster.server.monitor.selection import Facts, Query, natural, page_of, select
from muster.server.monitor.views import View, parse

FACTS = [
    Facts("gpu-10", "ready", "gpu-10\nrack-a\nsdxl", 2, 30),
    Facts("gpu-2", "degraded", "gpu-2\nrack-b\nflux", 0, 20),
    Facts("gpu-1", "offline", "gpu-1\nrack-a\nflux", 1, 10),
]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Query(), ["gpu-1", "gpu-2", "gpu-10"]),
        (Query(sort="-id"), ["gpu-10", "gpu-2", "gpu-1"]),
        (Query(sort="state"), ["gpu-1", "gpu-2", "gpu-10"]),
        (Query(sort="load"), ["gpu-10", "gpu-1", "gpu-2"]),
        (Query(sort="-load"), ["gpu-2", "gpu-1", "gpu-10"]),
        (Query(sort="started"), ["gpu-10", "gpu-2", "gpu-1"]),
        (Query("RACK-A"), ["gpu-1", "gpu-10"]),
        (Query("rack-a flux"), ["gpu-1"]),
        (Query("rack-c"), []),
        (Query(states=("degraded", "offline")), ["gpu-1", "gpu-2"]),
    ],
)
def test_finds_and_orders(query: Query, found: list[str]) -> None:
    assert select(query, FACTS) == found


@pytest.mark.failure(2)
@given(count=st.integers(0, 250), page=st.integers(1, 20), size=st.sampled_from([20, 50, 100]))
@pytest.mark.failure(2)
def test_pages_hold_each_once(count: int, page: int, size: int) -> None:
    ids = [f"m{number}" for number in range(count)]

    shown, number, pages = page_of(ids, page, size)
    every = [name for n in range(1, pages + 1) for name in page_of(ids, n, size)[0]]

    assert every == ids
    assert 1 <= number <= pages
    assert number == page or page > pages
    assert len(shown) <= size


@given(names=st.lists(st.text("ab01-", min_size=1), unique=True))
def test_the_order_of_names_is_total(names: list[str]) -> None:
    ordered = sorted(names, key=natural)
    names.reverse()

    assert sorted(names, key=natural) == ordered


@pytest.mark.parametrize(
    ("params", "view"),
    [
        ({}, View()),
        ({"machines": "b,a,b,"}, View(machines=("b", "a"))),
        ({"machine": "a"}, View(machine="a")),
        ({"job": "j"}, View(job="j")),
        (
            {"q": " x ", "state": "ready,offline", "sort": "-load", "page": "3", "size": "50"},
            View(Query("x", ("offline", "ready"), "-load"), 3, 50),
        ),
    ],
)
def test_a_url_names_a_view(params: dict[str, str], view: View) -> None:
    assert parse(params) == view


@pytest.mark.parametrize(
    ("field", "params"),
    [
        ("size", {"size": "1000"}),
        ("size", {"size": "-20"}),
        ("page", {"page": "0"}),
        ("page", {"page": "٣"}),
        ("page", {"page": "99999999999999"}),
        ("state", {"state": "ready,fine"}),
        ("sort", {"sort": "colour"}),
        ("q", {"q": "x" * 300}),
        ("machines", {"machines": ",".join(f"m{n}" for n in range(101))}),
        ("machines", {"machines": ","}),
        ("machines", {"machines": "x" * 9000}),
        ("machine", {"machine": "x" * 300}),
        ("job", {"machine": "a", "job": "j"}),
    ],
)
def test_a_url_that_asks_for_too_much_or_nonsense_is_refused(
    field: str, params: dict[str, str]
) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(params)

    assert refused.value.field == field
