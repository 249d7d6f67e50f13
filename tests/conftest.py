"""Settings of all tests. Helpers in this folder are imported by their names."""

import os
import signal
import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

# Small products on shared cores: threads of the BLAS would only stand in each other's way.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Open MPI wants to be asked for root, as in a container, and for more ranks than cores; and looking
# for a fast network takes it a second at every start.
os.environ.setdefault("OMPI_ALLOW_RUN_AS_ROOT", "1")
os.environ.setdefault("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
os.environ.setdefault("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
os.environ.setdefault("OMPI_MCA_btl", "^ofi")

# A shell's background job ignores Ctrl-C, and so would the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The time of one example says more about the machine than about the code.
settings.register_profile("minidl", deadline=None, max_examples=50)
settings.load_profile("minidl")
