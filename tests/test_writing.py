"""Files are written whole or not at all."""

import errno
import io
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import latflow
import latflow.cli
from latflow._writing import clear_unfinished, replacing
from latflow.report import write_report


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


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[str], int]]:
    """Start a process that writes a file and never ends; return its number."""
    children = []

    def start(name: str) -> int:
        ready, begun = os.pipe()
        children.append(os.fork())
        if not children[-1]:
            with replacing(tmp_path / name) as part:
                part.write_bytes(b"half")
                os.write(begun, b".")
                signal.pause()
        os.read(ready, 1)
        return children[-1]

    yield start
    for child in children:
        kill(child)


def kill(child: int) -> None:
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here, and killed")
def test_the_next_run_removes_what_a_killed_one_left(
    tmp_path: Path, started: Callable[[str], int]
) -> None:
    killed, other, running = started("model.a"), started("model.b.a"), started("model.a")
    kill(killed)
    kill(other)
    assert len(list(tmp_path.glob("*.part.a"))) == 3
    foreign = tmp_path / f"model.00000000-{killed}-{'0' * 32}.part.a"
    foreign.touch()
    with replacing(tmp_path / "model.a") as part:
        part.write_bytes(b"new")
        with replacing(tmp_path / "model.a") as second:
            second.write_bytes(b"newer")
    (of_running,) = tmp_path.glob(f"model.*-{running}-*.part.a")
    (of_another_file,) = tmp_path.glob("model.b.*.part.a")
    assert set(tmp_path.glob("*.part*")) == {foreign, of_running, of_another_file}
    assert (tmp_path / "model.a").read_bytes() == b"new"


def test_the_number_of_this_process_may_have_been_that_of_a_killed_one(tmp_path: Path) -> None:
    """As in containers, where numbers start anew."""
    with replacing(tmp_path / "model") as part:
        part.touch()
    left = part.with_name(part.name.replace(part.name.split("-")[-1][:32], "0" * 32))
    left.touch()
    with replacing(tmp_path / "model") as part:
        part.touch()
        assert not left.exists()
        assert part.exists()


@pytest.mark.parametrize("kind", ["absolute", "relative", "of a link", "to nothing"])
def test_a_symbolic_link_stays(tmp_path: Path, kind: str) -> None:
    (tmp_path / "far").mkdir()
    real, link = tmp_path / "far" / "model.v1", tmp_path / "model"
    if kind != "to nothing":
        real.write_bytes(b"old")
    if kind == "of a link":
        (tmp_path / "latest").symlink_to(Path("far", "model.v1"))
        link.symlink_to("latest")
    else:
        link.symlink_to(Path("far", "model.v1") if kind == "relative" else real)
    with replacing(link) as part:
        part.write_bytes(b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    with pytest.raises(KeyError), replacing(link) as part:  # noqa: PT012
        part.write_bytes(b"half")
        raise KeyError
    assert [file.read_bytes() for file in (tmp_path / "far").iterdir()] == [b"new"]


def test_a_link_into_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    link = tmp_path / "model"
    link.symlink_to(tmp_path / "gone" / "model")
    with pytest.raises(FileNotFoundError) as caught, replacing(link) as part:
        part.write_bytes(b"new")
    assert caught.value.filename == str(link)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "folder"])
def test_what_is_no_file_stays(tmp_path: Path, kind: str) -> None:
    path = special = tmp_path / "model"
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    if kind.startswith("link"):
        path = tmp_path / "link"
        path.symlink_to(special)
    with pytest.raises(OSError, match="Not a file") as caught, replacing(path) as part:
        part.write_bytes(b"new")
    assert caught.value.filename == str(path)
    assert special.is_fifo() == (kind != "folder")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EACCES, "Permission denied", "the part"),
        OSError("4096 requested and 0 written"),  # as numpy says it
    ],
)
def test_errors_of_the_disk_name_the_file(tmp_path: Path, error: OSError) -> None:
    path = tmp_path / "model"
    said = r"(No space|denied|0 written)"
    with pytest.raises(OSError, match=said) as caught, replacing(path) as part:  # noqa: PT012
        if error.filename is not None:
            error.filename = str(part)
        raise error
    assert caught.value.filename == str(path)
    assert caught.value.errno == (error.errno or errno.EIO)


def test_an_error_of_another_file_stays_its_own(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "model"):
        (tmp_path / "input").read_bytes()
    assert caught.value.filename == str(tmp_path / "input")


def on_a_full_disk(action: Any) -> Any:
    """Return an action where no file may be longer than a kilobyte: real errors of writing."""

    def full() -> Any:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
        try:
            return action()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, ignored)

    return full


@pytest.mark.parametrize("kind", ["save", "report", "sample"])
def test_a_full_disk_is_said_of_the_file(tmp_path: Path, latf: Any, kind: str) -> None:
    path = tmp_path / "written"
    path.write_bytes(b"old")
    latflow.save(latf, tmp_path / "model")

    def write() -> Any:
        if kind == "save":
            return latflow.save(latf, path)
        if kind == "report":
            return write_report(path, title="page", sections=[])
        with replacing(path) as part, part.open("wb") as file:
            return np.save(file, np.zeros(1000))

    with pytest.raises(OSError, match=r".") as caught:
        on_a_full_disk(write)()
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert sorted(tmp_path.iterdir()) == [tmp_path / "model", path]
    if kind == "sample":  # and the program says it in a sentence
        arguments = [str(tmp_path / "model"), "--n-samples", "1000", "--output", str(path)]
        assert on_a_full_disk(lambda: latflow.cli.main(["sample", *arguments]))() == 2


@pytest.mark.parametrize(
    ("encoding", "sign"), [("ascii", b" +- "), ("latin-1", b" \xb1 "), ("utf-8", " ± ".encode())]
)
def test_a_stream_without_the_letters_gets_others(
    tmp_path: Path, latf: Any, monkeypatch: pytest.MonkeyPatch, encoding: str, sign: bytes
) -> None:
    """In place of an error after all the work was done."""
    latflow.save(latf, tmp_path / "model")
    written = {name: io.BytesIO() for name in ("stdout", "stderr")}
    for name, stream in written.items():
        monkeypatch.setattr(sys, name, io.TextIOWrapper(stream, encoding, write_through=True))
    page = tmp_path / "sunlit \u2603.html"
    assert latflow.cli.main(["report", str(tmp_path / "model"), "--output", str(page)]) == 0
    assert sign in written["stdout"].getvalue()
    assert page.exists()
    assert latflow.cli.main(["report", str(tmp_path / "none \u2603")]) == 2
    said = written["stderr"].getvalue().decode(encoding)
    assert said.startswith("latflow: Expected a file written by latflow.save, found none at ")
    snowman = "\u2603" if encoding == "utf-8" else r"\u2603"
    assert said.endswith(f"none {snowman}.\n")
