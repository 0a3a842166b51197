"""What becomes of memory that is freed: a command keeps it for its next tensors.

glibc gives large pieces back to the system as soon as they are freed, and the system clears them each time that they
are asked for again. On a CPU that is a tenth of the autoencoder's time (`benchmarks/allocation.py`).
"""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt(3)
LARGE, LARGEST, LARGEST_OF_OLD = (1 << 31) - 1, 1 << 30, 1 << 25  # bytes; older glibc takes no larger threshold


def keep_freed_memory() -> bool:
    """Have the C library keep what is freed; returns whether it is one that can, as glibc is."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    larger = mallopt(MMAP_THRESHOLD, LARGEST) or mallopt(MMAP_THRESHOLD, LARGEST_OF_OLD)
    return bool(larger and mallopt(TRIM_THRESHOLD, LARGE))
