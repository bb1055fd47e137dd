"""Files are written whole or not at all."""

from pathlib import Path

import pytest

from latflow._writing import clear_unfinished, replacing


@pytest.mark.parametrize("name", ["model", "page.html", "two.dots.npy"])
def test_all_or_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"old")

    def write(content: bytes, error: type[BaseException] | None = None) -> Path:
        with replacing(path) as part:
            assert part.parent == path.parent
            assert part.name.endswith(f".part{path.suffix}")
            part.write_bytes(content)
            assert path.read_bytes() == b"old"
            if error is not None:
                raise error
        return part

    with pytest.raises(KeyboardInterrupt):
        write(b"half", KeyboardInterrupt)
    assert path.read_bytes() == b"old"
    write(b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_where_nothing_was(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "none" / "file") as part:
        part.touch()
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "file"):
        pass  # nothing written
    assert not list(tmp_path.iterdir())


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "file.npy"
    with replacing(path) as one, replacing(path) as other:
        one.write_bytes(b"one")
        other.write_bytes(b"other")
    assert path.read_bytes() == b"one"


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    kept = [tmp_path / "a.npy", tmp_path / "a.part.txt"]
    with replacing(kept[0]) as left:
        left.touch()
    for file in (left, *kept):
        file.touch()
    clear_unfinished(tmp_path, ".npy")
    assert sorted(tmp_path.iterdir()) == kept
