"""What holds for every test: no network, few threads, the same draws everywhere. Sets it before torch is imported."""

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from typer.testing import CliRunner, Result

os.environ["HF_HUB_OFFLINE"] = "1"  # inherited by the processes that tests start, like all below
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"  # as the command line sets it, which in this process comes too late
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))  # that share the cores, where pytest-xdist has some
threads = max(1, min(4, (os.cpu_count() or 1) // workers))  # tiny tensors gain no more
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # NumPy's, which no test needs; they take 0.1 s of every process
os.environ["OMP_NUM_THREADS"] = os.environ.get("TEST_THREADS", str(threads))

settings.register_profile("refilm", deadline=None, derandomize=True)
settings.load_profile("refilm")


def pytest_collection_finish() -> None:
    """Spare the garbage collector the modules and tests, which live until the end of the process."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete base model with random weights: a folder to load from, not to write into."""
    from .base_folder import make_base

    return make_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="session")
def tiny_base_15(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as `tiny_base` in the form of CogVideoX 1.5."""
    from .base_folder import SIZE_15, make_base

    return make_base(tmp_path_factory.mktemp("base") / "tiny-15", SIZE_15)


@pytest.fixture(scope="session")
def tiny_wan(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete tiny Wan with random weights, saved by diffusers, with the image encoder of `tiny_base`."""
    from .wan_folder import make_wan_base

    return make_wan_base(tmp_path_factory.mktemp("base") / "tiny-wan", tiny_base)


@pytest.fixture(scope="session")
def fox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of a critter that no training clip shows."""
    import numpy as np
    from PIL import Image

    from refilm.data import critters

    path = tmp_path_factory.mktemp("image") / "fox.png"
    Image.fromarray(critters.portrait(critters.subjects("held_out")[0], np.random.default_rng(0), size=256)).save(path)
    return path


@pytest.fixture
def refilm() -> Callable[..., Result]:
    """The command line, in this process: `refilm("generate", ...)`."""
    from refilm.cli.app import app

    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])
