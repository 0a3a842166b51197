"""How much memory this process has needed. Nothing heavy is imported here."""

import resource
import sys


def most_memory() -> float:
    """The most so far, in GiB: of the GPU where there is one, else of the process itself."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on a Mac, KiB elsewhere
    return most / 2**30 if sys.platform == "darwin" else most / 2**20
