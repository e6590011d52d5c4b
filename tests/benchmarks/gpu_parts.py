"""Parts of a queue as they may be: one that works, one that fails, crashes, or takes too long."""

import os
import signal
import time


class Functions:
    """What a part's module has."""

    def __init__(self, run):
        self.run = run

    def report(self, job):
        return "\n".join(row["name"] for row in job.rows())


def _work(job):
    for name in job.missing(["first", "second"]):
        job.add(name, figure=1.5)
    return True


def _fail(job):
    job.add("before", figure=1)
    raise ValueError("a typing error")


def _crash(job):
    os.kill(os.getpid(), signal.SIGKILL)


def _hang(job):
    if job.missing(["kept"]):
        job.add("kept", figure=2)
        time.sleep(60)
    return True


works, fails, crashes, hangs = map(Functions, (_work, _fail, _crash, _hang))
