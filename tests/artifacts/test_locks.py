"""Whoever comes second is told who came first; nothing stays locked after a process has ended."""

import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crest.artifacts import locks
from crest.artifacts.locks import lock_path, reading, writing
from crest.errors import ArtifactError

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from crest.artifacts.locks import reading, writing
with {"writing": writing, "reading": reading}[sys.argv[1]](Path(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""


class Holder:
    """Another process that holds a lock until it is killed."""

    def __init__(self, how: str, target: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, how, str(target)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"held\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "run"


def refusal(target: Path, how=writing) -> str:
    with pytest.raises(ArtifactError) as caught, how(target):
        pytest.fail("the block has run")
    return str(caught.value)


def test_a_second_process_is_refused_in_words_until_the_first_is_killed(target) -> None:
    holder = Holder("writing", target)
    text = refusal(target)
    assert text.startswith(f"{target}: a run goes on here, process {holder.process.pid} on ")
    assert text.endswith("wait until it has ended, or work in another copy of the project")
    assert f" since {time.strftime('%Y-')}" in text
    assert "a run goes on here" in refusal(target, reading)
    holder.kill()
    assert lock_path(target).exists()  # a killed process removes nothing
    with writing(target) as locked:
        assert locked
    assert list(target.parent.iterdir()) == []


def test_many_read_and_nobody_writes_meanwhile(target) -> None:
    holder = Holder("reading", target)
    with reading(target):
        assert f"process {os.getpid()} on" in refusal(target)
    text = refusal(target)
    assert text.startswith(f"{target}: a run that reads it goes on, process {holder.process.pid} ")
    holder.kill()
    with writing(target), writing(target), reading(target):
        assert "writes: process" in lock_path(target).read_text()
    assert list(target.parent.iterdir()) == []


def test_the_last_reader_removes_the_file(target) -> None:
    with reading(target), reading(target):
        assert lock_path(target).exists()
    assert not lock_path(target).exists()


def test_a_lock_is_waited_for_by_those_who_have_the_patience(target) -> None:
    descriptor = os.open(lock_path(target), os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    paused: list[float] = []

    def let_go(seconds: float) -> None:
        paused.append(seconds)
        if len(paused) == 3:
            os.close(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", let_go)
        with writing(target, patience=60):
            pass
    assert len(paused) == 3


def test_a_file_that_its_holder_removes_while_one_waits_is_no_lock(target) -> None:
    first = os.open(lock_path(target), os.O_RDWR | os.O_CREAT)
    fcntl.flock(first, fcntl.LOCK_EX)

    def let_go(seconds: float) -> None:
        if lock_path(target).exists():
            lock_path(target).unlink()
            os.close(first)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", let_go)
        with writing(target, patience=60):
            assert lock_path(target).exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_said_and_used(target, monkeypatch, caplog, number) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with writing(target) as locked:
        assert not locked
    with reading(target):
        pass
    assert caplog.messages == [
        f"{target}: its file system has no locks: see to it that no other run writes here"
    ]
    assert list(target.parent.iterdir()) == []


def test_what_may_only_be_read_is_read_without_a_lock(target, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(locks.os, "open", refuse)
    with reading(target):
        pass
    with pytest.raises(PermissionError), writing(target):
        pytest.fail("the block has run")


def test_a_child_process_keeps_no_lock_after_its_parent(target) -> None:
    """As a fork has it, of which the parent is killed and the child goes on."""
    with writing(target):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        held = dict(locks._open)
    try:
        assert held
        with writing(target):
            pass
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_the_files_are_removed_by_a_process_that_ends_at_once(target) -> None:
    for how in (writing, reading):
        with how(target):
            locks.remove_files()
            assert not lock_path(target).exists()
    with reading(target):
        holder = Holder("reading", target)
        locks.remove_files()
        assert lock_path(target).exists()
        holder.kill()
