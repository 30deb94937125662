"""Who may do what on Redis: every command, for every role."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

from muster.fleet import nameplate
from support.roles import ROLES, RolesRedis, roles_redis, users_file

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE = Path(__file__).parents[2] / "data" / "redis-rights.toml"
QUEUE = "muster:{default}"


@pytest.fixture(scope="module")
def server() -> Iterator[RolesRedis]:
    with roles_redis() as running:
        yield running


@pytest.fixture(scope="module")
def operator(server: RolesRedis) -> Iterator[Redis]:
    with server.client("operator") as client:
        client.ping()  # so that its socket is there before any test's
        yield client


@pytest.fixture(scope="module")
def commands(operator: Redis) -> dict[str, int]:
    """All commands of this server, with how many words each has at least."""
    found: dict[str, int] = {}

    def note(info: list[Any]) -> None:
        name, arity, within = info[0].decode(), info[1], info[9]
        if within:
            for each in within:
                note(each)
        else:
            found[name] = abs(arity)

    connection = operator.connection_pool.get_connection()
    connection.send_command("COMMAND")  # as it comes: redis-py makes other things of it
    for info in connection.read_response():
        note(info)
    operator.connection_pool.release(connection)
    return found


def rights() -> dict[str, set[str]]:
    table = {name: set(text.split()) for name, text in tomllib.loads(TABLE.read_text()).items()}
    both = table["server_and_machine"]
    return {
        "server": both,
        "machine": both,
        **{role: table[role] for role in ("reader", "sentinel")},
    }


def may_run(operator: Redis, role: str, words: list[str]) -> str:
    """Ask the server itself, which runs nothing."""
    try:
        answer = operator.execute_command("ACL DRYRUN", role, *words)
    except ResponseError as error:
        return str(error)
    return answer.decode() if isinstance(answer, bytes) else str(answer)


@pytest.mark.parametrize("role", ROLES)
def test_every_command_is_allowed_or_refused_as_the_table_says(
    operator: Redis, commands: dict[str, int], role: str
) -> None:
    allowed = {
        name
        for name, words in commands.items()
        if "permissions to run" not in may_run(operator, role, _call(name, words))
    }

    wanted = set(commands) if role == "operator" else rights()[role] & set(commands)
    assert len(commands) > 300
    assert allowed == wanted


def _call(name: str, words: int) -> list[str]:
    said = name.split("|")
    return said + [f"{QUEUE}:key"] * (words - len(said))


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (["set", f"{QUEUE}:key", "1"], {"server", "machine"}),
        (["get", f"{QUEUE}:key"], {"server", "machine", "reader"}),
        (["set", "muster:{other}:key", "1"], set()),
        (["get", "muster:{other}:key"], {"reader"}),
        (["set", nameplate.KEY, "1"], set()),
        (["del", nameplate.KEY], set()),
        (["set", nameplate.PERMIT_KEY, "write"], set()),
        (["get", nameplate.KEY], {"server", "machine", "reader"}),
        (["get", nameplate.PERMIT_KEY], {"server", "machine", "reader"}),
        (["get", "somebody:else"], set()),
        (["publish", "channel", "x"], set()),
        (["publish", "__sentinel__:hello", "x"], {"sentinel"}),
    ],
)
def test_each_role_reaches_its_own_keys(
    operator: Redis, words: list[str], allowed: set[str]
) -> None:
    others = [role for role in ROLES if role != "operator"]

    assert {role for role in others if may_run(operator, role, words) == "OK"} == allowed
    assert may_run(operator, "operator", words) == "OK"


def test_nobody_comes_in_without_a_name(server: RolesRedis) -> None:
    for url in (f"redis://127.0.0.1:{server.port}", f"redis://:x@127.0.0.1:{server.port}"):
        with (
            Redis.from_url(url) as client,
            pytest.raises(Exception, match=r"(?i)authenticat|password"),
        ):
            client.ping()


def test_a_script_gives_nobody_more_than_they_have(server: RolesRedis) -> None:
    script = "return redis.call('SET', 'muster:nameplate', 'production')"
    with (
        server.client("server") as client,
        pytest.raises(ResponseError, match="can't access at least one of the keys"),
    ):
        client.eval(script, 0)
    with server.client("reader") as client, pytest.raises(NoPermissionError):
        client.eval("return 1", 0)


def test_without_passwords_there_is_no_reader_and_no_sentinel() -> None:
    passwords = {role: "word" for role in ROLES if role not in {"reader", "sentinel"}}

    users = users_file(passwords)
    assert "user reader" not in users
    assert "user sentinel" not in users
    assert "word" not in users_file(passwords).split()
    with pytest.raises(subprocess.CalledProcessError):
        users_file({"operator": "word"})
