from collections.abc import Iterator
from pathlib import Path

import pytest

from refilm.serving import Store, VideoJob

from .workers import REQUEST, Workers, ended, results


@pytest.fixture(scope="session")
def forked() -> Iterator[Workers]:
    found = Workers()
    yield found
    found.close()


@pytest.fixture
def workers(forked: Workers) -> Iterator[Workers]:
    """Starts workers, which are killed at the end of the test."""
    yield forked
    forked.kill()


@pytest.fixture(scope="session")
def undisturbed(forked: Workers, fox: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The results of the request that is disturbed in the tests, from a run that was not."""
    store = Store(tmp_path_factory.mktemp("undisturbed"))
    job = store.accept(REQUEST | {"reference": ["fox.png"]}, {"fox.png": fox}, model="pocket")
    forked.start(store, save_state_every=1000)
    found = results(store, ended(store, job))
    forked.kill()
    return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store(tmp_path / "store")
    yield found
    found.close()


@pytest.fixture
def job(store: Store, fox: Path) -> VideoJob:
    """A queued job with the request of `undisturbed`."""
    return store.accept(REQUEST | {"reference": ["fox.png"]}, {"fox.png": fox}, model="pocket")
