"""A function on several processes that train together: forked from one that imported all once."""

import importlib
import json
import os
import sys
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tests.processes import run

FAILED = "failed"


def on_processes(sizes: list[int], module: str, function: str, folder: Path) -> list[list[Any]]:
    """Call ``function(rank, folder)`` on so many processes, for each size; return their answers."""
    done = run(Path(__file__), module, function, folder, *sizes)
    assert done.returncode == 0, done.stderr[-4000:]
    found: list[list[Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def _work(rank: int, size: int, function: Any, folder: Path, results: Any) -> None:
    import torch.distributed as dist

    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}  # by the file instead
    if size > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=size
        )
    try:
        results.put((rank, function(rank, folder)))
    except BaseException:
        results.put((rank, FAILED))
        raise
    if size > 1:
        dist.destroy_process_group()


def _together(size: int, function: Any, folder: Path) -> list[Any]:
    folder.mkdir()
    context = get_context("fork")
    results = context.Queue()
    ranks = [
        context.Process(target=_work, args=(rank, size, function, folder, results))
        for rank in range(size)
    ]
    for one in ranks:
        one.start()
    found = {}
    while len(found) < size and FAILED not in found.values():
        found |= [results.get(timeout=300)]
    if FAILED in found.values():
        for rank in found:
            ranks[rank].join(10)  # it has yet to say why
        for one in ranks:
            one.kill()  # the others may wait for the one that failed
        sys.exit(1)
    for one in ranks:
        one.join()
    return [found[rank] for rank in range(size)]


def _main() -> None:
    module, name, folder, *sizes = sys.argv[1:]
    function = getattr(importlib.import_module(module), name)
    print(json.dumps([_together(int(size), function, Path(folder) / size) for size in sizes]))


if __name__ == "__main__":
    _main()
