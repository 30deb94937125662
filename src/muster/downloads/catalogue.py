"""Which models there are, and where each comes from."""

from __future__ import annotations

import tomllib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from muster.downloads.content import Content
from muster.errors import InvalidInput
from muster.jobs.model import Name

if TYPE_CHECKING:
    from typing import Self

    from muster.downloads.places import Places

LONGEST_NOTE = 200
"""What a note's name may have beside its ending, on common file systems."""


def _noted(name: str) -> str:
    """Return the name if a file can be named for it. Raises ``ValueError``."""
    if len(quote(name, safe="")) > LONGEST_NOTE:
        raise ValueError(f"it is longer than {LONGEST_NOTE} characters when its / and : are quoted")
    return name


class Model(BaseModel):
    """A model: the name that jobs ask for it by, where it comes from, what it must be.

    ``size`` is in bytes. ``path`` is where a service finds it below its models folder, such as
    ``checkpoints/base.safetensors`` for ComfyUI; without it, at its name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[Name, AfterValidator(_noted)]
    url: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(gt=0)
    path: str = ""

    @property
    def content(self) -> Content:
        """What the file must be."""
        return Content(self.sha256, self.size)

    @model_validator(mode="after")
    def _has_a_path(self) -> Self:
        if not self.path:
            object.__setattr__(self, "path", _inside(self.name))
        return self

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, value: str) -> str:
        return _inside(value) if value else ""


class Catalogue(BaseModel):
    """Models by their names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: tuple[Model, ...] = Field(alias="model", default=())

    def find(self, name: str) -> Model | None:
        """Return the model of that name, if there is one."""
        return next((model for model in self.models if model.name == name), None)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for what in ("name", "path"):
            values = [getattr(model, what) for model in self.models]
            for value in values:
                if values.count(value) > 1:
                    raise ValueError(f"the {what} {value!r} is there more than once")
        paths = {PurePosixPath(model.path) for model in self.models}
        for path in sorted(paths):
            if parent := next((parent for parent in path.parents if parent in paths), None):
                raise ValueError(f"the path {str(parent)!r} is a file, and the folder of {path}")
        return self


def _inside(value: str) -> str:
    path = PurePosixPath(value)
    plain = path.parts and not path.is_absolute() and ".." not in path.parts
    if not plain or "\\" in value or not value.isprintable():
        raise ValueError(f"the path {value!r} must be relative, and stay in the models folder")
    return str(path)


def read_catalogue(file: Path, places: Places) -> Catalogue:
    """Read a TOML file of ``[[model]]`` tables with name, url, sha256, size and perhaps path.

    Raises ``InvalidInput`` that names the file, the model and the field.
    """
    where = f"MODEL_CATALOGUE {file}"
    try:
        catalogue = Catalogue.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise InvalidInput(
            where, f"cannot be read: {error.strerror}", "Check the path and who may read it."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(where, f"is not TOML: {error}", "Mend the file.") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the list"
        problem = first["msg"].removeprefix("Value error, ")
        raise InvalidInput(where, f"is refused: {place}: {problem}", "Mend that entry.") from None
    for model in catalogue.models:
        try:
            places.check(model.url)
        except ValueError as error:
            raise InvalidInput(
                where,
                f"is refused: the URL of {model.name}: {error}",
                "Use another URL, or list its host in DOWNLOAD_HOSTS.",
            ) from None
    return catalogue
