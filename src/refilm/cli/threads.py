"""What threads do that wait for work: they sleep.

OpenMP's threads spin for a while before they sleep. A command whose tensors are small wakes them thousands of times a
second, and on cores that other processes want, spinning takes the time that these and the work itself need
(`benchmarks/threads.py`).
"""

import os

SLEEPING = {
    "OMP_WAIT_POLICY": "passive",  # of every OpenMP
    "KMP_BLOCKTIME": "0",  # of LLVM's and Intel's: milliseconds
}
CHOSEN_WITH = (*SLEEPING, "KMP_LIBRARY", "GOMP_SPINCOUNT")


def let_waiting_threads_sleep() -> None:
    """Set the environment that OpenMP reads when torch is first imported, unless a user has chosen how threads wait."""
    if not any(name in os.environ for name in CHOSEN_WITH):
        os.environ.update(SLEEPING)
