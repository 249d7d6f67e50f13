"""Settings of all tests. Helpers in this folder are imported by their names."""

import os
import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

# Small products on shared cores: threads of the BLAS would only stand in each other's way.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# The time of one example says more about the machine than about the code.
settings.register_profile("minidl", deadline=None, max_examples=50)
settings.load_profile("minidl")
