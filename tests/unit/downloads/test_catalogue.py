from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.downloads.catalogue import Model, read_catalogue
from muster.downloads.content import Content
from muster.downloads.places import Host, Places
from muster.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

PLACES = Places(frozenset({Host.parse("files.example")}))
GOOD = {
    "name": '"base"',
    "url": '"https://files.example/base"',
    "sha256": f'"{"a" * 64}"',
    "size": "5",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "models.toml"


def entry(**fields: str | None) -> str:
    """Return a model's table, good but for these fields; None leaves one out."""
    given = GOOD | fields
    lines = [f"{name} = {value}" for name, value in given.items() if value is not None]
    return "\n".join(["[[model]]", *lines, ""])


def refusal(file: Path) -> str:
    with pytest.raises(InvalidInput) as caught:
        read_catalogue(file, PLACES)
    said = str(caught.value)
    assert said.startswith(f"MODEL_CATALOGUE {file}: ")
    return said


def test_models_are_found_by_name(file: Path) -> None:
    second = entry(name='"second"', sha256=f'"{"b" * 64}"', path='"checkpoints//second.bin"')
    file.write_text(entry() + second)

    catalogue = read_catalogue(file, PLACES)

    base, found = catalogue.find("base"), catalogue.find("second")
    assert base is not None
    assert base.content == Content("a" * 64, 5)
    assert base.path == "base"
    assert found is not None
    assert found.path == "checkpoints/second.bin"
    assert catalogue.find("third") is None
    assert catalogue.models == (base, found)


def test_no_models_are_a_catalogue_too(file: Path) -> None:
    file.write_text("")

    assert read_catalogue(file, PLACES).models == ()


def test_a_name_with_folders_is_a_path(file: Path) -> None:
    file.write_text(entry(name='"acme/base@1"'))

    assert read_catalogue(file, PLACES).models[0].path == "acme/base@1"


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("name", None, "Field required"),
        ("name", '""', "match pattern"),
        ("name", '"two words"', "match pattern"),
        ("name", '"-x"', "match pattern"),
        ("url", None, "Field required"),
        ("sha256", None, "Field required"),
        ("sha256", '"abc"', "match pattern"),
        ("sha256", f'"{"A" * 64}"', "match pattern"),
        ("sha256", f'"{"a" * 64}\\n"', "match pattern"),
        ("size", None, "Field required"),
        ("size", "0", "greater than 0"),
        ("size", "-1", "greater than 0"),
        ("size", '"large"', "valid integer"),
        ("sise", "5", "Extra inputs are not permitted"),
        ("path", '"/etc/passwd"', "stay in the models folder"),
        ("path", '"../evil"', "stay in the models folder"),
        ("path", '"a/../../evil"', "stay in the models folder"),
        ("path", '"."', "stay in the models folder"),
        ("path", "'a\\b'", "stay in the models folder"),
        ("path", '"a\\nb"', "stay in the models folder"),
        ("path", '"a\\u0000b"', "stay in the models folder"),
    ],
)
def test_a_bad_field_is_told_with_its_file_and_place(
    file: Path, field: str, value: str | None, problem: str
) -> None:
    file.write_text(entry(name='"first"', path='"first"') + entry(**{field: value}))

    said = refusal(file)

    assert f"is refused: model.1.{field}: " in said
    assert problem in said


@pytest.mark.parametrize("name", ["a/../../evil", "a/..", "a/../b"])
def test_a_name_that_would_lead_elsewhere_as_a_path_is_refused(file: Path, name: str) -> None:
    file.write_text(entry(name=f'"{name}"'))

    said = refusal(file)

    assert f"model.0: the path {name!r} must be relative, and stay in the models folder" in said
    file.write_text(entry(name=f'"{name}"', path='"plain"'))
    assert read_catalogue(file, PLACES).models[0].path == "plain"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"path": '"other"'}, "the name 'base' is there more than once"),
        ({"name": '"other"', "path": '"base"'}, "the path 'base' is there more than once"),
        ({"name": '"other"', "path": '"./base"'}, "the path 'base' is there more than once"),
        ({"name": '"base/more"'}, "the path 'base' is a file, and the folder of base/more"),
    ],
)
def test_what_is_there_twice_is_told(file: Path, fields: dict[str, str], problem: str) -> None:
    file.write_text(entry() + entry(**fields))

    assert problem in refusal(file)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://elsewhere.example/base", "is not among the hosts that are allowed"),
        ("http://files.example/base", "is not among the hosts that are allowed"),
        ("https://files.example:8443/base", "is not among the hosts that are allowed"),
        ("file:///etc/passwd", "not an http or https URL"),
        ("https://me:hunter2@files.example/base", "holds a user or password"),
        ("", "not an http or https URL"),
    ],
)
def test_a_url_that_may_not_be_fetched_is_told_with_its_model(
    file: Path, url: str, problem: str
) -> None:
    file.write_text(entry(name='"first"') + entry(url=f'"{url}"'))

    said = refusal(file)

    assert "is refused: the URL of base: " in said
    assert problem in said
    assert "DOWNLOAD_HOSTS" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[[model]", "is not TOML: "),
        (b"\xff\xfe", "is not TOML: "),
        (b"model = 5", "is refused: model: "),
        (b"models = []", "is refused: models: Extra inputs"),
    ],
)
def test_a_file_that_is_no_catalogue_is_told(file: Path, content: bytes, problem: str) -> None:
    file.write_bytes(content)

    assert problem in refusal(file)


def test_a_file_that_cannot_be_read_is_told(file: Path) -> None:
    assert "cannot be read: No such file or directory" in refusal(file)

    file.mkdir()
    assert "cannot be read: Is a directory" in refusal(file)


def test_a_model_survives_being_written_down() -> None:
    model = Model(name="a/b", url="https://files.example/x", sha256="a" * 64, size=1)

    assert Model.model_validate_json(model.model_dump_json()) == model


def test_a_name_that_no_file_can_be_named_for_is_refused(file: Path) -> None:
    file.write_text(entry(name=f'"a{"/:" * 60}b"', path='"a"'))

    assert "longer than 200 characters" in refusal(file)
