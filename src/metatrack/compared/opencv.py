"""OpenCV's trackers behind our interface: ``init(frame, box)``, ``update(frame)`` to an answer with ``.box``.

Frames are ``(H, W, 3)`` uint8 RGB and turned into OpenCV's BGR here. Boxes are ``x, y, w, h``, 0-based; the part of the first one
that lies outside the frame is cut off, since OpenCV's trackers fail on it. Where a tracker says that it has not found the target,
the answer is a box of NaN; the next frame is given to it all the same, and some (TLD) find the target again.

============  =========================================================================================================
class         in OpenCV
============  =========================================================================================================
CSRT          discriminative correlation filter with a spatial mask (Lukezic et al., CVPR 2017); whole pixels
MIL           multiple-instance boosting (Babenko et al., CVPR 2009); whole pixels, one size for ever
TLD           tracking, learning, detection (Kalal et al., PAMI 2012); OpenCV's is much weaker than the authors'
MOSSE         the first correlation filter (Bolme et al., CVPR 2010); one size for ever
MedianFlow    optical flow with a check there and back (Kalal et al., ICPR 2010); gives up on fast motion and occlusion
Nano, Vit     small networks; their ONNX files come from you
============  =========================================================================================================

All but MIL, Nano and Vit are in the wheels of opencv-contrib alone. MIL and TLD draw from the C library's random numbers without
seeding them, which is done here in ``init``: then they answer the same in every run. On Windows that generator is out of reach.

OpenCV's KCF is left out: it gives up wherever its response falls under 0.5, on our 15 development targets of OTB in 82 % of the
frames (AUC 0.218, and 0.324 with that threshold at 0.1). :mod:`metatrack.compared.kcf` follows the paper.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from metatrack.geometry import Box, Image, check_box
from metatrack.opencv import require_opencv

cv2 = require_opencv("this tracker")

GIVEN_UP = Box(*(float("nan"),) * 4)
SEED = 1


class OpenCVAnswer(NamedTuple):
    """What a tracker says about a frame."""

    box: Box
    """``x, y, w, h`` in pixels, 0-based; four NaN where it has not found the target."""


class OpenCVFollower:
    """One of OpenCV's trackers; its subclasses say which.

    Raises:
        ValueError: the installed OpenCV has no such tracker.
    """

    origin: ClassVar[str]
    """The class inside cv2. Those of ``legacy`` take and give boxes of floats, the others of whole numbers."""

    def __init__(self) -> None:
        self._class = opencv_class(self.origin)
        self._tracker: Any = None
        self._frames = 0

    def init(self, frame: Image, box: Sequence[float]) -> None:
        """Starts on a target, forgetting any earlier one.

        Args:
            frame: ``(H, W, 3)`` uint8 RGB.
            box: ``x, y, w, h``, 0-based.

        Raises:
            ValueError: the box has no area or lies outside the frame.
            RuntimeError: OpenCV cannot start on it (it refuses very small targets).
        """
        height, width = frame.shape[:2]
        x, y, w, h = check_box(box, (height, width))
        left, top = max(x, 0.0), max(y, 0.0)
        inside = (left, top, min(x + w, float(width)) - left, min(y + h, float(height)) - top)
        _seed()
        self._frames = 0
        with self._explained():
            self._tracker = self._create()
            if self.origin.startswith("legacy."):
                self._tracker.init(_bgr(frame), inside)
            else:
                self._tracker.init(_bgr(frame), _whole(inside, width, height))

    def update(self, frame: Image) -> OpenCVAnswer:
        """Finds the target in the next frame, ``(H, W, 3)`` uint8 RGB.

        Raises:
            RuntimeError: :meth:`init` has not been called, or OpenCV fails.
        """
        if self._tracker is None:
            raise RuntimeError("update() before init(): give the target's box in its first frame first")
        self._frames += 1
        with self._explained():
            found, box = self._tracker.update(_bgr(frame))
        return OpenCVAnswer(Box(*(float(value) for value in box)) if found else GIVEN_UP)

    @classmethod
    def identity(cls) -> dict[str, Any]:
        """What decides its boxes.

        Raises:
            ValueError: the installed OpenCV has no such tracker.
        """
        opencv_class(cls.origin)
        return {"opencv": cv2.__version__}

    def _create(self) -> Any:
        """A new tracker of OpenCV's."""
        return self._class()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except cv2.error as error:
            reason = str(error).strip().splitlines()[0]
            raise RuntimeError(f"OpenCV's {self.origin} fails in frame {self._frames} of its run: {reason}") from error


class CSRT(OpenCVFollower):
    """Discriminative correlation filter with channel and spatial reliability."""

    origin = "TrackerCSRT"


class MIL(OpenCVFollower):
    """Online multiple-instance learning."""

    origin = "TrackerMIL"


class OpenCVTLD(OpenCVFollower):
    """Tracking, learning, detection."""

    origin = "legacy.TrackerTLD"


class MOSSE(OpenCVFollower):
    """Minimum output sum of squared error."""

    origin = "legacy.TrackerMOSSE"


class MedianFlow(OpenCVFollower):
    """Forward-backward error of optical flow."""

    origin = "legacy.TrackerMedianFlow"


class NetworkTracker(OpenCVFollower):
    """A tracker of OpenCV's that needs network files, which are never downloaded here.

    Args:
        folder: holds :attr:`files` under these names.

    Raises:
        ValueError: the installed OpenCV has no such tracker, or a file is missing.
    """

    files: ClassVar[dict[str, str]]
    """Parameter of OpenCV's, and the file it names."""
    source: ClassVar[str]
    """Where people get them."""

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self._paths = self.find(folder)

    @classmethod
    def find(cls, folder: str | Path) -> dict[str, Path]:
        """The files, by parameter.

        Raises:
            ValueError: one is missing, or a pointer to it is in its place.
        """
        paths = {parameter: Path(folder) / name for parameter, name in cls.files.items()}
        for path in paths.values():
            if not path.is_file():
                raise ValueError(f"{path} is missing; get {' and '.join(cls.files.values())} from {cls.source}")
            with path.open("rb") as file:
                if file.read(7) == b"version":
                    raise ValueError(f"{path} is a pointer of Git LFS, not the network; run 'git lfs pull' where it comes from")
        return paths

    @classmethod
    def identity(cls, folder: str | Path = "") -> dict[str, Any]:
        """What decides its boxes: the version of OpenCV, and the SHA-256 of each file.

        Raises:
            ValueError: the installed OpenCV has no such tracker, or a file is missing.
        """
        hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in cls.find(folder).values()}
        return {**super().identity(), "sha256": hashes}

    def _create(self) -> Any:
        parameters = opencv_class(f"{self.origin}_Params")()
        for name, path in self._paths.items():
            setattr(parameters, name, str(path))
        with _quiet():
            return self._class(parameters)


class Nano(NetworkTracker):
    """NanoTrack; OpenCV runs the files of its versions 1 and 2, not those of 3."""

    origin = "TrackerNano"
    files: ClassVar[dict[str, str]] = {"backbone": "nanotrack_backbone_sim.onnx", "neckhead": "nanotrack_head_sim.onnx"}
    source = "https://github.com/HonglinChu/SiamTrackers, folder NanoTrack/models/nanotrackv2"


class Vit(NetworkTracker):
    """VitTrack; it gives up on frames in which its score is under 0.2."""

    origin = "TrackerVit"
    files: ClassVar[dict[str, str]] = {"net": "object_tracking_vittrack_2023sep.onnx"}
    source = "https://github.com/opencv/opencv_zoo, folder models/object_tracking_vittrack"


def opencv_class(name: str) -> Any:
    """What makes OpenCV's class of that name.

    Raises:
        ValueError: the installed OpenCV lacks it.
    """
    found: Any = cv2
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise ValueError(
            f"OpenCV {cv2.__version__} as installed here has no {name}; the wheels with contrib have it (install only one):"
            " pip uninstall opencv-python opencv-python-headless opencv-contrib-python, then"
            " pip install --force-reinstall opencv-contrib-python-headless"
        )
    return getattr(found, "create", found)


def _bgr(frame: Image) -> Image:
    """RGB to BGR, contiguous."""
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), np.uint8)


def _whole(box: tuple[float, float, float, float], width: int, height: int) -> tuple[int, int, int, int]:
    """The nearest box of whole pixels inside the frame, of at least one pixel."""
    left, top = min(round(box[0]), width - 1), min(round(box[1]), height - 1)
    right, bottom = min(round(box[0] + box[2]), width), min(round(box[1] + box[3]), height)
    return left, top, max(right - left, 1), max(bottom - top, 1)


def _seed() -> None:
    """Starts the random numbers of OpenCV and of the C library anew."""
    cv2.setRNGSeed(SEED)
    if sys.platform != "win32":
        ctypes.CDLL(None).srand(SEED)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps OpenCV's warnings about its engine for networks, two for each run, off the terminal."""
    logging = getattr(getattr(cv2, "utils", None), "logging", None)
    if logging is None:
        yield
        return
    before = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        logging.setLogLevel(before)
