"""Shared by all tests: where the development data is, and a scene whose truth is known."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("METATRACK_SHARED") or REPOSITORY.parent / "shared")
"""The development data: beside the repository, or where METATRACK_SHARED says."""

VOT = Path(os.environ.get("METATRACK_VOT_VENV") or REPOSITORY / ".venv-vot") / ("Scripts" if os.name == "nt" else "bin") / "vot"
"""VOT's toolkit, whose requirements exclude ours: in an environment of its own, which ``make test`` makes."""

settings.register_profile("loaded machine", deadline=None)  # an example may take any time where other work runs beside
settings.load_profile("loaded machine")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # nohup, or in the background: what tests start would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Scene:
    """A textured disc that wanders over a textured background, and may hide: made, not recorded, so its boxes are exact."""

    def __init__(self, seed: int = 0, length: int = 60, size: tuple[int, int] = (240, 320), hidden: range = range(0)) -> None:
        rng = np.random.default_rng(seed)
        self.height, self.width = size
        self.length, self.hidden = length, hidden
        self.background = self._texture(rng, size, 9, (60, 110))
        self.side = 44
        self.object = self._texture(rng, (self.side, self.side), 5, (120, 255))
        yy, xx = np.mgrid[: self.side, : self.side] - (self.side - 1) / 2
        self.mask = (xx**2 + yy**2 <= (self.side / 2) ** 2)[..., None]

    @staticmethod
    def _texture(rng: np.random.Generator, size: tuple[int, int], grain: int, span: tuple[int, int]) -> np.ndarray:
        coarse = rng.uniform(*span, (size[0] // grain + 2, size[1] // grain + 2, 3)).astype(np.float32)
        return cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)

    def box(self, i: int) -> tuple[float, float, float, float]:
        x = self.width / 2 - self.side / 2 + 70 * np.sin(i / 14)
        y = self.height / 2 - self.side / 2 + 40 * np.sin(i / 9)
        return round(x), round(y), self.side, self.side

    def frame(self, i: int) -> np.ndarray:
        frame = self.background.copy()
        if i not in self.hidden:
            x, y, s, _ = (int(v) for v in self.box(i))
            part = frame[y : y + s, x : x + s]
            frame[y : y + s, x : x + s] = np.where(self.mask, self.object, part)
        return frame


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Torch with so many threads; skips where the train extra is absent."""
    torch = pytest.importorskip("torch", reason="torch needs the train extra")
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


class _SignalStack(ctypes.Structure):
    """``stack_t`` of POSIX, as Linux has it."""

    _fields_ = [("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


@pytest.fixture(autouse=True)
def signals_have_a_stack() -> None:
    """Python's handlers run on the alternate stack that some library has set, and one that we load leaves one that is gone.

    Torch's data loader sets a handler for children that end; then the end of the next one would be our own (SIGSEGV).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).sigaltstack(ctypes.byref(_SignalStack(None, 2, 0)), None)  # 2: SS_DISABLE


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The development data beside the repository; a test that needs it skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the development data in {SHARED} (or set METATRACK_SHARED)")
    return SHARED
