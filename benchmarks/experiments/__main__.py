"""``python -m benchmarks.experiments``: runs experiments and prints their tables."""

import sys

from benchmarks.experiments.commands import main
from crest.pipeline.process import keep_freed_memory

keep_freed_memory()
sys.exit(main())
