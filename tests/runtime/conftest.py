"""Shared by the tests of engines."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def one_thread():
    """Torch with one thread: on a busy machine, further ones would only wait."""
    torch = pytest.importorskip("torch", reason="the torch engine needs the train extra")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
