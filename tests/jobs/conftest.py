"""Videos of lists are compared bit by bit."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """With several threads, PyTorch on a CPU may add in another order from run to run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
