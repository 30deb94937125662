from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath

from hypothesis import example, given
from hypothesis import strategies as st

from muster.downloads import archive
from muster.downloads.errors import UnsafeArchive
from support.downloads import make_zip

UNDER = "site-packages"
FILES = {f"{UNDER}/a.py": b"a = 1\n", f"{UNDER}/pack/b.py": b"b = 2\n" * 1000}

# Where the first member's size is in the central directory: APPNOTE.TXT, section 4.3.12.
FIRST_SIZE = make_zip(FILES).index(b"PK\x01\x02") + 24


def written(folder: str, data: bytes) -> Path:
    file = Path(folder) / "archive.zip"
    file.write_bytes(data)
    return file


plain_names = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\:"), max_size=40
).filter(lambda name: name not in {"", ".", ".."})
trees = st.dictionaries(
    st.lists(plain_names, min_size=1, max_size=4).map("/".join), st.binary(max_size=200), max_size=8
).filter(
    lambda tree: (
        not any(str(parent) in tree for path in tree for parent in PurePosixPath(path).parents)
    )
)


@given(trees)
def test_any_tree_comes_out_as_it_went_in(tree: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = written(folder, make_zip({f"{UNDER}/{path}": data for path, data in tree.items()}))
        target = Path(folder) / "target"

        archive.unpack(file, UNDER, target)

        found = {
            str(path.relative_to(target)): path.read_bytes()
            for path in target.rglob("*")
            if path.is_file()
        }
        assert found == tree
        archive.compare(file, UNDER, target)


pieces = st.sampled_from(
    ["..", ".", "/", "\\", "C:", "\0", "~", "a", UNDER, "../", "\n", "%2e%2e/"]
)


@given(st.lists(pieces, min_size=1, max_size=8).map("".join))
@example(f"{UNDER}/../../escaped")
@example(f"{UNDER}\0/../../escaped")
def test_any_hostile_name_is_refused_or_stays_inside(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = written(folder, make_zip({name: b"evil", f"{UNDER}/good.py": b""}))
        target = Path(folder) / "one" / "two" / "target"

        try:
            archive.unpack(file, UNDER, target)
        except UnsafeArchive:
            assert not target.exists()
        else:
            archive.compare(file, UNDER, target)
        outside = {path for path in Path(folder).rglob("*") if not path.is_relative_to(target)}
        assert outside <= {file, target.parent, target.parent.parent}


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=5))
@example([(FIRST_SIZE, 7)])
def test_any_damage_is_refused_or_of_no_matter(damage: list[tuple[int, int]]) -> None:
    data = bytearray(make_zip(FILES))
    for at, value in damage:
        data[at % len(data)] = value
    with tempfile.TemporaryDirectory() as folder:
        file = written(folder, bytes(data))
        target = Path(folder) / "target"

        try:
            archive.unpack(file, UNDER, target)
        except UnsafeArchive:
            assert not target.exists()
        else:
            archive.compare(file, UNDER, target)
