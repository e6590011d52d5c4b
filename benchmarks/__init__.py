"""What CREST takes and gives, measured: run from the project's folder (README.md lists all)."""

import os
from pathlib import Path

# As cli.py does; before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

ROOT = Path(__file__).resolve().parents[1]  # of this checkout
