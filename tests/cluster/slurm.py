"""As much of Slurm as the scripts need: what sbatch, srun, scancel and scontrol do.

Nodes are process groups on this machine. As with Slurm, the signal before the time limit goes to
the script alone, scancel --signal to every process of the steps, and srun that is told to end kills
its tasks.
"""

import os
import re
import signal
import stat
import subprocess
import sys

from tests.test_pipeline import environment

JOB = "4711"

SRUN = """
import os, signal, subprocess, sys
nodes = int(os.environ["SLURM_JOB_NUM_NODES"])
tasks = [subprocess.Popen(sys.argv[1:], start_new_session=True) for _ in range(nodes)]
def killed(number, frame):
    for task in tasks:
        os.killpg(task.pid, signal.SIGKILL)
signal.signal(signal.SIGTERM, killed)
with open(os.environ["FAKE_SLURM"] + "/steps", "a") as steps:
    steps.writelines(f"{task.pid}\\n" for task in tasks)
codes = [task.wait() for task in tasks]
sys.exit(max(code if code >= 0 else 128 - code for code in codes))
"""
SCANCEL = """
import os, signal, sys
option, job = sys.argv[1:]
assert job == os.environ["SLURM_JOB_ID"]
number = signal.Signals["SIG" + option.removeprefix("--signal=")]
for group in open(os.environ["FAKE_SLURM"] + "/steps").read().split():
    try:
        os.killpg(int(group), number)
    except ProcessLookupError:
        pass
"""
SCONTROL = """
import os, sys
if sys.argv[1:3] == ["show", "hostnames"]:
    print(sys.argv[3].replace(",", "\\n"))
else:
    verb, job = sys.argv[1:]
    assert (verb, job) == ("requeue", os.environ["SLURM_JOB_ID"])
    open(os.environ["FAKE_SLURM"] + "/requeued", "w").close()
"""


class Slurm:
    """Runs one job's script, again and again as it is queued."""

    def __init__(self, folder):
        self._folder = folder
        self._restarts = 0
        self._job = None
        (folder / "bin").mkdir(parents=True)
        for name, text in (("srun", SRUN), ("scancel", SCANCEL), ("scontrol", SCONTROL)):
            self.put(name, text)

    def put(self, name, text):
        """Put a program in Python where the job finds it first."""
        path = self._folder / "bin" / name
        path.write_text(f"#!{sys.executable} -S\n{text}", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def start(self, project, script, *arguments, nodes=1):
        """Start the job, as sbatch would; returns the process of its script."""
        (self._folder / "steps").write_text("", encoding="utf-8")
        (self._folder / "requeued").unlink(missing_ok=True)
        inherited = environment()
        variables = {
            "PATH": f"{self._folder / 'bin'}{os.pathsep}{inherited['PATH']}",
            "FAKE_SLURM": str(self._folder),
            "SLURM_JOB_ID": JOB,
            "SLURM_JOB_NUM_NODES": str(nodes),
            "SLURM_JOB_NODELIST": ",".join(["localhost"] * nodes),
            "SLURM_CPUS_PER_TASK": "1",
            "SLURM_RESTART_COUNT": str(self._restarts),
        }
        self._restarts += 1
        with (self._folder / "log").open("a") as log:
            self._job = subprocess.Popen(
                ["bash", script, *arguments],
                cwd=project,
                env=inherited | variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self._job

    def reach_time_limit(self, job, script):
        """Send the script the signal that it asks for itself, as Slurm does before the limit."""
        asked = re.search(r"^#SBATCH --signal=B:(\w+)@\d+$", script.read_text(), re.MULTILINE)
        job.send_signal(signal.Signals[f"SIG{asked[1]}"])

    def signal_steps(self, number):
        """Signal every process of the steps, as scancel and preemption do."""
        for group in self.steps():
            os.killpg(group, number)

    def steps(self):
        """Process groups of the steps."""
        return [int(group) for group in (self._folder / "steps").read_text().split()]

    @property
    def requeued(self):
        """Whether the script has asked for the job to be queued again."""
        return (self._folder / "requeued").exists()

    @property
    def log(self):
        """What the job has said."""
        return (self._folder / "log").read_text(encoding="utf-8")

    def end(self):
        """Kill what a test that failed has left running."""
        if self._job is None or self._job.poll() is not None:
            return
        for group in self.steps():
            os.killpg(group, signal.SIGKILL)
        self._job.kill()
        self._job.wait()
