from __future__ import annotations

import pytest

from muster.errors import InvalidInput
from muster.settings import RedisSettings


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
    ],
)
def test_a_redis_url_that_cannot_work_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"^REDIS_URL: is refused: .* for example") as refused:
        RedisSettings.load(redis_url=url)

    assert "hush" not in str(refused.value)


def test_a_queue_name_that_cannot_be_a_key_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"MUSTER_QUEUE: 'a:b' is refused"):
        RedisSettings.load(queue="a:b")
