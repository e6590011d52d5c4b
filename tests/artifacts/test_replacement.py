"""Files under their final name are whole, whatever happens while they are written."""

import errno
import os
import shutil
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crest.artifacts import (
    others_in,
    read_json,
    replacement,
    replacing,
    replacing_folder,
    sweep,
    write_json,
    write_table,
)
from crest.artifacts.locks import lock_path
from crest.errors import ArtifactError
from tests.artifacts.test_tables import example, full_disk, mode, names

FAILURES = [ValueError("a fault"), KeyboardInterrupt(), SystemExit(1), MemoryError()]


@pytest.fixture
def umask() -> Iterator[None]:
    """A umask that differs from the usual one and from that of temporary files."""
    earlier = os.umask(0o027)
    yield
    os.umask(earlier)


@pytest.fixture
def two_renames(monkeypatch) -> None:
    """A file system on which two folders cannot change places in one step."""
    monkeypatch.setattr(replacement, "_exchange", lambda *_: False)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_file_stays_when_its_replacement_fails(tmp_path, failure) -> None:
    path = tmp_path / "file"
    path.write_text("earlier")
    with pytest.raises(type(failure)), replacing(path) as temporary:
        temporary.write_text("half of the ne")
        raise failure
    assert path.read_text() == "earlier"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_folder_stays_when_its_replacement_fails(tmp_path, failure) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "earlier").touch()
    with pytest.raises(type(failure)), replacing_folder(folder) as temporary:
        (temporary / "new").mkdir()
        raise failure
    assert names(folder) == ["earlier"]
    assert names(tmp_path) == ["run"]


def test_a_file_is_the_earlier_one_until_the_block_ends(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_text("earlier")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "earlier"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["file"]


def test_a_folder_is_replaced_whole(tmp_path) -> None:
    folder = tmp_path / "deep" / "run"
    for name in ("one", "two"):
        with replacing_folder(folder) as temporary:
            assert names(temporary) == []
            (temporary / name).touch()
        assert names(folder) == [name]
    assert names(folder.parent) == ["run"]


@pytest.mark.usefixtures("two_renames")
def test_a_folder_that_cannot_be_put_in_place_gives_way_to_the_earlier_one(
    tmp_path, monkeypatch
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "earlier").touch()
    rename = Path.rename

    def refuse_the_new_one(self: Path, target: Path) -> Path:
        if self.suffix == ".partial":
            full_disk()
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_the_new_one)
    with (
        pytest.raises(ArtifactError, match=r"run: cannot be written: .*No space left"),
        replacing_folder(folder) as temporary,
    ):
        (temporary / "new").touch()
    assert names(folder) == ["earlier"]
    assert names(tmp_path) == ["run"]


def test_a_file_in_the_place_of_a_folder_is_refused_before_any_work(tmp_path) -> None:
    path = tmp_path / "run"
    path.write_text("mine")
    with (
        pytest.raises(ArtifactError, match="run: a file where a folder is to be; move it away"),
        replacing_folder(path),
    ):
        pytest.fail("the block has run")
    assert path.read_text() == "mine"
    assert names(tmp_path) == ["run"]


@pytest.mark.parametrize("replace", [replacing, replacing_folder])
def test_a_file_in_the_place_of_the_folder_above_is_refused(tmp_path, replace) -> None:
    (tmp_path / "artifacts").write_text("mine")
    with (
        pytest.raises(ArtifactError, match=r"artifacts/x: cannot be written: .*File exists"),
        replace(tmp_path / "artifacts" / "x"),
    ):
        pytest.fail("the block has run")
    assert (tmp_path / "artifacts").read_text() == "mine"


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path) -> None:
    (tmp_path / "metrics.json").mkdir()
    with pytest.raises(ArtifactError, match=r"metrics\.json: cannot be written: .*directory"):
        write_json(tmp_path / "metrics.json", {})
    assert names(tmp_path) == ["metrics.json"]


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "Permission denied")])
def test_a_folder_that_is_not_ours_to_write_is_said_plainly(tmp_path, monkeypatch, error) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    expected = "x: cannot be written: Permission denied; make its folder writable"
    for replace in (replacing, replacing_folder):
        with pytest.raises(ArtifactError, match=expected), replace(tmp_path / "x"):
            pytest.fail("the block has run")


def test_a_disk_that_fills_up_is_said_plainly(tmp_path, monkeypatch) -> None:
    path = tmp_path / "file"
    path.write_text("earlier")
    with (
        pytest.raises(ArtifactError, match=r"file: cannot be written: .*No space left"),
        replacing(path) as temporary,
    ):
        temporary.write_text("half")
        full_disk()
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(ArtifactError, match=r"file: cannot be written: .*No space left"):
        write_json(path, {})
    assert path.read_text() == "earlier"
    assert names(tmp_path) == ["file"]


def test_a_link_is_followed(tmp_path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "run").mkdir(parents=True)
    (elsewhere / "file").touch()
    for name in ("run", "file"):
        (tmp_path / name).symlink_to(elsewhere / name)
    with replacing_folder(tmp_path / "run") as temporary:
        (temporary / "new").touch()
    write_json(tmp_path / "file", {})
    assert (tmp_path / "run").is_symlink()
    assert (tmp_path / "file").is_symlink()
    assert names(elsewhere / "run") == ["new"]
    assert read_json(elsewhere / "file") == {}
    assert names(elsewhere) == ["file", "run"]


def test_permissions_are_those_of_any_new_file_and_folder(tmp_path, umask) -> None:
    write_json(tmp_path / "metrics.json", {})
    with replacing_folder(tmp_path / "run") as folder:
        write_table(folder / "steps.parquet", example("steps"))
    assert mode(tmp_path / "metrics.json") == 0o640
    assert mode(tmp_path / "run") == 0o750
    assert mode(tmp_path / "run" / "steps.parquet") == 0o640


def test_an_earlier_folder_that_cannot_be_removed_is_no_failure(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    remove = shutil.rmtree

    def refuse(path: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise PermissionError(errno.EACCES, "Permission denied")
        remove(path, ignore_errors=True)

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with replacing_folder(folder) as temporary:
        (temporary / "new").touch()
    assert names(folder) == ["new"]


def leave(folder: Path, name: str) -> Path:
    left = folder / name
    left.mkdir()
    (left / "half").write_text("half")
    return left


@pytest.mark.parametrize("replace", [replacing, replacing_folder])
def test_what_a_killed_process_left_is_swept_away(tmp_path, replace) -> None:
    """Whatever the number of the process: in containers every one is number 1."""
    leave(tmp_path, ".out.abcdefg1.partial")
    lock_path(tmp_path / "out").write_text("of the killed one")
    others = [leave(tmp_path, f".{name}.partial") for name in ("out.v2.abcdefg1", "outer.abcdefg1")]
    with replace(tmp_path / "out") as partial:
        partial.touch() if replace is replacing else (partial / "file").touch()
    assert sorted(tmp_path.iterdir()) == sorted([*others, tmp_path / "out"])


def test_what_was_left_can_be_swept_away_without_writing(tmp_path) -> None:
    leave(tmp_path, ".out.abcdefg1.partial")
    sweep(tmp_path / "out")
    sweep(tmp_path / "nowhere" / "out")
    assert names(tmp_path) == []


def test_what_is_being_written_is_not_swept_away(tmp_path) -> None:
    """The other is a thread here; its number is that of this process."""
    with replacing_folder(tmp_path / "out") as temporary:
        failed: list[str] = []

        def other() -> None:
            try:
                with replacing_folder(tmp_path / "out"):
                    pass
            except ArtifactError as error:
                failed.append(str(error))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert temporary.is_dir()
        (temporary / "file").touch()
    assert names(tmp_path / "out") == ["file"]
    assert f"out: a run goes on here, process {os.getpid()} on " in failed[0]


@pytest.mark.usefixtures("two_renames")
def test_killed_between_two_renames_the_earlier_folder_comes_back(tmp_path: Path) -> None:
    earlier = leave(tmp_path, ".out.abcdefg1.earlier")
    assert names(earlier) == ["half"]
    with pytest.raises(ValueError, match="fault"), replacing_folder(tmp_path / "out"):
        raise ValueError("fault")
    assert names(tmp_path / "out") == ["half"]


@pytest.mark.parametrize("exchanging", [True, False])
def test_a_signal_leaves_the_old_or_the_new(tmp_path, monkeypatch, exchanging) -> None:
    """It comes with each step on the file system, as Python calls its handler after it."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "earlier").touch()

    def signalled(step):
        def take(*arguments):
            found = step(*arguments)
            signal.raise_signal(signal.SIGTERM)
            return found

        return take

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", signalled(Path.rename))
    exchange = signalled(replacement._exchange) if exchanging else lambda *_: False
    monkeypatch.setattr(replacement, "_exchange", exchange)
    before = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(KeyboardInterrupt), replacing_folder(folder) as temporary:
            (temporary / "new").touch()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert names(folder) == ["new"]
    assert names(tmp_path) == ["run"]


def test_folders_change_places_in_one_step_where_the_system_can(tmp_path) -> None:
    for name in ("one", "other"):
        (tmp_path / name / name).mkdir(parents=True)
    if replacement._exchange(tmp_path / "one", tmp_path / "other"):
        assert names(tmp_path / "one") == ["other"]
        assert names(tmp_path / "other") == ["one"]
    else:
        assert names(tmp_path / "one") == ["one"]
    with pytest.raises(OSError, match="No such file"):
        replacement._exchange(tmp_path / "one", tmp_path / "none")


CALLS = ("open", "os.", "shutil.", "fcntl.", "ctypes.", "tempfile.")


def killed_at(number: int, work: Callable[[], None]) -> bool:
    """Work in a child process that is killed before its call of that number; whether it was.

    Calls are those that Python announces: of the file system, and of locks.
    """
    child = os.fork()
    if child == 0:
        left = [number]

        def count(event: str, arguments: object) -> None:
            if event != "os.kill" and event.startswith(CALLS):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(count)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("exchanging", [True, False])
def test_killed_at_any_call_there_is_the_old_or_the_new(tmp_path, monkeypatch, exchanging) -> None:
    """And the next run ends as if it had been the first, with nothing left about."""
    if not exchanging:
        monkeypatch.setattr(replacement, "_exchange", lambda *_: False)
    outcomes = set()
    for number in range(1000):
        root = tmp_path / str(number)
        (root / "run").mkdir(parents=True)
        write_json(root / "run" / "file", {"old": 1})

        def work(root: Path = root) -> None:
            with replacing_folder(root / "run", ours=("file",)) as temporary:
                write_json(temporary / "file", {"new": 1})

        killed = killed_at(number, work)
        if (root / "run").is_dir():
            outcomes.add(*read_json(root / "run" / "file"))
        else:
            assert not exchanging  # put back by whoever comes next
        with pytest.raises(ValueError, match="fault"), replacing_folder(root / "run"):
            raise ValueError("fault")
        assert names(root / "run") == ["file"]
        assert len(read_json(root / "run" / "file")) == 1
        work()
        assert read_json(root / "run" / "file") == {"new": 1}
        assert names(root) == ["run"]
        if not killed:
            break
    assert number > 10
    assert outcomes == {"old", "new"}


MARKS = ["run[1]", "run{1,2}", "run*", "run?", "run[!x]{a}", "a'b", 'a"b', "a b", "ä"]


@pytest.mark.parametrize("name", MARKS)
def test_the_marks_of_a_pattern_in_a_name_mean_nothing(tmp_path, name) -> None:
    folder = tmp_path / name / name
    for _ in range(2):
        leave_in = folder.parent
        leave_in.mkdir(exist_ok=True)
        leave(leave_in, f".{name}.abcdefg1.partial")
        with replacing_folder(folder, ours=("steps.parquet",)) as temporary:
            write_table(temporary / "steps.parquet", example("steps"))
        assert names(folder) == ["steps.parquet"]
        assert names(folder.parent) == [name]


# ------------------------------------------------------------------------------- what is another's


def test_a_folder_that_holds_anothers_file_is_refused_before_any_work(tmp_path) -> None:
    folder = tmp_path / "run"
    (folder / "snapshots").mkdir(parents=True)
    (folder / "snapshots" / "mine.txt").write_text("mine")
    with (
        pytest.raises(ArtifactError, match=r"run: holds snapshots/mine.txt, which would be"),
        replacing_folder(folder, ours=("snapshots/step_*.safetensors",)),
    ):
        pytest.fail("the block has run")
    assert (folder / "snapshots" / "mine.txt").read_text() == "mine"


def test_anothers_file_that_comes_meanwhile_is_not_removed_either(tmp_path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with (
        pytest.raises(ArtifactError, match=r"run: holds notes, which would be removed"),
        replacing_folder(folder, ours=("file",)) as temporary,
    ):
        (temporary / "file").touch()
        (folder / "notes").write_text("mine")
    assert names(folder) == ["notes"]
    assert names(tmp_path) == ["run"]


@pytest.mark.parametrize("litter", [".DS_Store", "._a.png", "Thumbs.db", ".nfs000a", "a/.DS_Store"])
def test_what_systems_leave_is_nobodys(tmp_path, litter) -> None:
    (tmp_path / litter).parent.mkdir(exist_ok=True)
    (tmp_path / litter).touch()
    assert others_in(tmp_path, ()) is None


def test_a_link_to_a_folder_is_anothers(tmp_path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert others_in(tmp_path, ("file",)) == "link"


# --------------------------------------------------------------------------- pipes and devices


def test_a_pipe_gets_what_was_written_and_stays(tmp_path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    write_json(path, {"a": 1})
    reader.join()
    assert got == [b'{\n  "a": 1\n}\n']
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert names(tmp_path) == ["pipe"]


def test_a_device_stays(tmp_path) -> None:
    write_json(Path("/dev/null"), {"a": 1})
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    with pytest.raises(ArtifactError, match="/dev/full: cannot be written: No space left"):
        write_json(Path("/dev/full"), {"a": 1})
    with (
        pytest.raises(ArtifactError, match="/dev/null: a file where a folder is to be"),
        replacing_folder(Path("/dev/null")),
    ):
        pytest.fail("the block has run")


def test_what_a_process_has_open_is_added_to_and_stays(tmp_path) -> None:
    """As a shell has it: a file that output is appended to."""
    path = tmp_path / "log"
    path.write_text("earlier\n")
    with path.open("ab") as opened:
        write_json(Path(f"/dev/fd/{opened.fileno()}"), {})
    assert path.read_text() == "earlier\n{}\n"


def test_a_socket_is_refused(tmp_path, monkeypatch) -> None:
    import socket

    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(ArtifactError, match="socket: a socket, which is not replaced"):
            write_json(Path("socket"), {})
    assert stat.S_ISSOCK(Path("socket").stat().st_mode)
