"""What holds for every test: no network, few threads, the same draws everywhere. Sets it before torch is imported."""

import os

from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"  # inherited by the processes that tests start, like all below
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", str(min(4, os.cpu_count() or 1)))  # tiny tensors gain nothing from more

settings.register_profile("refilm", deadline=None, derandomize=True)
settings.load_profile("refilm")
