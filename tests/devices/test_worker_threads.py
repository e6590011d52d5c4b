import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from crest.devices.worker_threads import single_threaded_pool, usable_cores


def test_each_worker_uses_one_thread_and_the_caller_as_many_as_before():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with single_threaded_pool(2) as pool:
            together = threading.Barrier(2)

            def threads():
                together.wait()  # both workers are asked
                torch.rand(200_000).sum()
                return torch.get_num_threads()

            assert list(pool.map(lambda _: threads(), range(2))) == [1, 1]
            assert torch.get_num_threads() == 3
        found = []
        other = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        other.start()
        other.join()
        assert found == [3]
    finally:
        torch.set_num_threads(before)


def test_processes_of_a_launcher_share_the_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setattr("crest.devices.worker_threads.QUOTA", Path("no limit"))
    assert usable_cores() == 8
    for processes, cores in (("2", 4), ("16", 1), ("0", 8), ("many", 8)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
        assert usable_cores() == cores


def test_workers_of_a_loader_share_the_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr("crest.devices.worker_threads.QUOTA", Path("no limit"))
    worker = SimpleNamespace(num_workers=3)
    monkeypatch.setattr("crest.devices.worker_threads.get_worker_info", lambda: worker)
    assert usable_cores() == 1
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert usable_cores() == 2


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("max 100000", 8), ("200000 100000", 2), ("50000 100000", 1), ("1600000 100000", 8), ("", 8)],
)
def test_a_container_may_use_fewer_cores_than_there_are(monkeypatch, tmp_path, limit, cores):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    (tmp_path / "cpu.max").write_text(limit)
    monkeypatch.setattr("crest.devices.worker_threads.QUOTA", tmp_path / "cpu.max")
    assert usable_cores() == cores
