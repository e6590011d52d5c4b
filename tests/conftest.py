"""Shared settings: passive threads as the command line has them, before torch is imported."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
