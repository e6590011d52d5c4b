"""The Slurm scripts: their own lines, run by a stand-in for Slurm; no Slurm was to be had."""

import shutil
import signal
import subprocess

import pytest

from tests.cluster.conftest import ON_THE_WAY, RUN
from tests.cluster.results import differing
from tests.cluster.slurm import Slurm
from tests.cluster.waiting import wait_for
from tests.test_pipeline import REPOSITORY

SCRIPTS = sorted((REPOSITORY / "cluster").glob("*.sh"))
ONE_NODE = "cluster/slurm_one_node.sh"
MANY_NODES = "cluster/slurm_many_nodes.sh"
# In place of torchrun: says what it was started with, and at SIGTERM saves and ends as train does.
TRAINING = """
import os, pathlib, signal, sys
def told(number, frame):
    pathlib.Path("saved").touch()
    os._exit({code})
signal.signal(signal.SIGTERM, told)
pathlib.Path("started").write_text(" ".join(sys.argv[1:]))
signal.pause()
"""


@pytest.fixture
def slurm(tmp_path):
    made = Slurm(tmp_path / "slurm")
    yield made
    made.end()


def test_a_job_at_its_time_limit_is_queued_again_and_ends_as_if_it_had_had_the_time(
    slurm, prepared, finished
):
    job = slurm.start(prepared, MANY_NODES, "--method", "crest", nodes=2)
    wait_for((prepared / ON_THE_WAY).exists, job)
    slurm.reach_time_limit(job, prepared / MANY_NODES)
    assert job.wait(60) == 0, slurm.log
    assert slurm.requeued
    assert slurm.log.count("the same command goes on from there") == 2
    assert not (prepared / RUN).exists()
    # On as many nodes again it is the same, and takes longer here.
    job = slurm.start(prepared, ONE_NODE, "--method", "crest")
    assert job.wait(120) == 0, slurm.log
    assert not slurm.requeued
    assert not differing(finished / RUN, prepared / RUN)


@pytest.fixture
def scripts(tmp_path):
    """A folder with the scripts alone."""
    return shutil.copytree(REPOSITORY / "cluster", tmp_path / "project" / "cluster").parent


@pytest.mark.parametrize(("script", "nodes"), [(ONE_NODE, 1), (MANY_NODES, 2)])
def test_every_node_starts_its_processes_and_meets_the_others_on_the_first(
    slurm, scripts, script, nodes
):
    # In one piece: the nodes write to one log at once.
    slurm.put("torchrun", "import os, sys; os.write(1, (' '.join(sys.argv[1:]) + '\\n').encode())")
    job = slurm.start(scripts, script, "--method", "crest", nodes=nodes)
    assert job.wait(60) == 0, slurm.log
    lines = slurm.log.splitlines()
    meeting = "--rdzv-backend=c10d --rdzv-endpoint=localhost:24711 --rdzv-id=4711"
    where = "--standalone" if nodes == 1 else "--nnodes=2"
    rest = "" if nodes == 1 else f" {meeting}"
    assert lines == [f"{where} --nproc-per-node=1{rest} cli.py train --method crest"] * nodes


def test_a_job_that_is_preempted_saves_its_state_and_does_not_queue_itself(slurm, scripts):
    slurm.put("torchrun", TRAINING.format(code=143))
    job = slurm.start(scripts, ONE_NODE)
    wait_for((scripts / "started").exists, job)
    slurm.signal_steps(signal.SIGTERM)
    assert job.wait(60) == 143
    assert (scripts / "saved").exists()
    assert not slurm.requeued


@pytest.mark.parametrize(("code", "requeued"), [(143, True), (0, False)])
def test_a_job_is_queued_again_where_the_time_limit_stopped_it_and_not_where_it_ended_all_the_same(
    slurm, scripts, code, requeued
):
    slurm.put("torchrun", TRAINING.format(code=code))
    job = slurm.start(scripts, ONE_NODE)
    wait_for((scripts / "started").exists, job)
    slurm.reach_time_limit(job, scripts / ONE_NODE)
    assert job.wait(60) == 0
    assert (scripts / "saved").exists()
    assert slurm.requeued == requeued


def test_a_job_that_fails_is_not_queued_again(slurm, scripts):
    slurm.put("torchrun", "raise SystemExit(2)")
    assert slurm.start(scripts, ONE_NODE).wait(60) == 2
    assert not slurm.requeued


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_bash(script):
    subprocess.run(["bash", "-n", script], check=True)
