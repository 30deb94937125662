from __future__ import annotations

import pytest

from muster.errors import InvalidInput
from muster.settings import RedisSettings, Sentinels


@pytest.mark.parametrize(
    "url",
    [
        "http://h:1",
        "redis://:hush@h:abc/0",
        "redis://:hush@h:99999",
        "redis://:hush@h:0",
        "redis://:hush#word@h:1/0",
        "redis://u:12/hush@h:1",
        "redis://:hush?@h:1",
        "redis+sentinel://:hush@h:1",
        "redis+sentinel://:hush@h:1/",
        "redis+sentinel://:hush@/muster",
        "redis+sentinel://:hush@h:1,:2/muster",
        "redis+sentinel://:hush@h:0/muster",
        "redis+sentinel://:hush@h:x/muster",
        "redis+sentinel://:hush@h:1/muster/zero",
    ],
)
def test_a_redis_url_that_cannot_work_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"^REDIS_URL: is refused: .* for example") as refused:
        RedisSettings.load(redis_url=url)

    assert "hush" not in str(refused.value)


def test_an_address_of_sentinels_is_read() -> None:
    url = "rediss+sentinel://us%40er:p%2Fw@one:26380,two/the%20fleet/2"

    assert Sentinels.of(url) == Sentinels(
        addresses=(("one", 26380), ("two", 26379)),
        service="the fleet",
        db=2,
        username="us@er",
        password="p/w",
        tls=True,
    )
    assert RedisSettings.load(redis_url=url).redis_url.get_secret_value() == url
    assert Sentinels.of("redis://one") is None


def test_a_queue_name_that_cannot_be_a_key_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"MUSTER_QUEUE: 'a:b' is refused"):
        RedisSettings.load(queue="a:b")
