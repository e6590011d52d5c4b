"""The parts of the queue, in order of worth: a file here and a line in PARTS each."""

from benchmarks.gpu.queue import Part

PARTS = (
    Part("cuda_tests", seconds=90),
    Part("steps", seconds=200),
    Part("profile", seconds=60),
    Part("main_rows", seconds=400),
    Part("airbench", seconds=120),
    Part("rivals", seconds=600),
)
# Heavy imports, done once for all of the parts.
PRELOAD = (
    "torch._dynamo",  # which an optimizer imports
    "benchmarks.experiments.commands",
    "crest.models.resnet20",
    "crest.methods",
)
