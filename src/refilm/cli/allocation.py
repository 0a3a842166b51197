"""Memory allocation: keep freed memory in the process for later tensors.

glibc returns large blocks to the system as soon as they are freed, and the system zeroes them whenever they are
allocated again. On a CPU this takes a tenth of the autoencoder's time (`benchmarks/allocation.py`).
"""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt(3)
LARGE, LARGEST, LARGEST_OF_OLD = (
    (1 << 31) - 1,
    1 << 30,
    1 << 25,
)  # bytes; older glibc versions accept no larger threshold


def keep_freed_memory() -> bool:
    """Make the C library keep freed memory; returns whether it supports this, as glibc does."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    larger = mallopt(MMAP_THRESHOLD, LARGEST) or mallopt(MMAP_THRESHOLD, LARGEST_OF_OLD)
    return bool(larger and mallopt(TRIM_THRESHOLD, LARGE))
