"""Shared by the tests of engines."""

from __future__ import annotations

import pytest

from tests.conftest import torch_threads


@pytest.fixture(scope="module")
def one_thread():
    """Torch with one thread: on a busy machine, further ones would only wait."""
    with torch_threads(1):
        yield
