"""Peak memory of this process. Imports nothing slow."""

import resource
import sys


def most_memory() -> float:
    """Peak memory so far in GiB: of the GPU if there is one, otherwise of the process."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on a Mac, KiB elsewhere
    return most / 2**30 if sys.platform == "darwin" else most / 2**20
