"""Make idle OpenMP threads sleep instead of spin.

OpenMP threads spin for a while before they sleep. A command with small tensors wakes them thousands of times a second;
on cores shared with other processes, spinning takes time from these processes and from the computation itself
(`benchmarks/threads.py`).
"""

import os

SLEEPING = {
    "OMP_WAIT_POLICY": "passive",  # all OpenMP implementations
    "KMP_BLOCKTIME": "0",  # LLVM's and Intel's; milliseconds
}
CHOSEN_WITH = (*SLEEPING, "KMP_LIBRARY", "GOMP_SPINCOUNT")


def let_waiting_threads_sleep() -> None:
    """Set the environment that OpenMP reads when torch is imported, unless the user has set how threads wait."""
    if not any(name in os.environ for name in CHOSEN_WITH):
        os.environ.update(SLEEPING)
