from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from muster.errors import InvalidInput
from muster.matrix.environments.model import Act, Capability, Source
from muster.matrix.environments.reading import read_environment
from support.suite import ENVS

if TYPE_CHECKING:
    from support.suite import Suite


@pytest.mark.parametrize("name", sorted(path.stem for path in ENVS.glob("*.toml")))
def test_every_environment_of_ours_can_be_read(name: str) -> None:
    assert read_environment(ENVS, name).name == name


def test_production_is_there_to_be_looked_at() -> None:
    production = read_environment(ENVS, "production")

    assert production.acts == [Act.READ]
    assert production.source is Source.EXTERNAL
    assert not production.is_ours_to_break


def test_an_unknown_environment_is_refused_with_those_that_there_are(suite: Suite) -> None:
    with pytest.raises(
        InvalidInput, match=r"'moon' is no environment\. .*local, production, staging"
    ):
        read_environment(suite.folder / "envs", "moon")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('name = "local"', 'name = "staging"', "says that it is 'staging'"),
        ('["read", "write", "destructive"]', '["destructive"]', "acts must be read; read, write"),
        ('["read", "write", "destructive"]', '["explode"]', r"acts\[0\].*'explode'"),
        ('from = "embedded"', 'from = "external"', "do not go together"),
        ('from = "embedded"', 'from = "heaven"', r"redis\.from.*'heaven'"),
        ("gpus = 2", "gpus = 9", r"machines\.gpus.* 9 "),
        ("gpus = 2", "cards = 2", r"machines\.cards"),
        ("count = 1, ", "", "machines needs count and gpus"),
        ('about = "A test environment."', 'about = ""', "about"),
        ('name = "local"', 'name = "local"\ncapabilities = ["warp"]', r"capabilities\[0\].*'warp'"),
        ('name = "local"', 'name = "local"\nextra = 1', "extra"),
        ('"canary.json"', '"nothing.json"', "payload that is not there"),
        ("[canary]", "[alerts]\ndrop = 0\n[canary]", r"alerts\.drop.* 0 .*greater than 0"),
        ("[canary]", "[alerts]\ndrops = 1\n[canary]", r"alerts\.drops.*not a known field"),
        ("keep_s = 60", "keep_s = 59", "keep_s is less than every_s"),
        ("name = ", "name == ", "is not TOML"),
    ],
)
def test_what_cannot_be_is_refused_by_file_and_entry(
    suite: Suite, old: str, new: str, told: str
) -> None:
    file = suite.folder / "envs" / "local.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))

    with pytest.raises(InvalidInput, match=re.compile(f"local.toml.*{told}", re.DOTALL)):
        read_environment(file.parent, "local")


def test_an_external_environment_is_never_ours_to_break(suite: Suite) -> None:
    file = suite.folder / "envs" / "production.toml"
    file.write_text(file.read_text().replace('["read"]', '["read", "write", "destructive"]'))

    with pytest.raises(InvalidInput, match="never ours to break"):
        read_environment(file.parent, "production")


def test_a_target_that_is_not_set_is_told() -> None:
    local = read_environment(ENVS, "local")

    assert local.target("job_completes_s") > 0
    with pytest.raises(InvalidInput, match=r"targets.warp_speed: is not set for .* local"):
        local.target("warp_speed")


def test_acts_include_lesser_ones() -> None:
    assert Act.DESTRUCTIVE.includes(Act.READ)
    assert not Act.READ.includes(Act.WRITE)
    assert Capability("tls") is Capability.TLS
