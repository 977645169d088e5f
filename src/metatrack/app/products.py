"""What a run makes beside the table and the drawn video: clips that follow a target, a video that hides it, data for training.

Each takes a frame at a time with its results, and is whole whenever it is closed.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from metatrack.app.given import Target
from metatrack.files import take_place, write_atomically
from metatrack.geometry import Box, Image, crop
from metatrack.images import encode_image
from metatrack.video import VideoWriter
from metatrack.video.effects import CropView, grown, hide

if TYPE_CHECKING:
    from typing_extensions import Self

    from metatrack.tracking.tracker import Result

SMALLEST, LARGEST = 128, 1080  # sides of a clip that follows a target, in pixels
SURE = 0.5  # score from which the target is where its box is
MARGIN = 0.15  # share of a hidden target's size around it that is hidden too; another half of what its score lacks is added
SPREAD, MOST_SPREAD = 0.1, 1.5
"""Share of its size by which the last sure place grows with each frame that is not sure, and by how much at most."""
QUALITY = 95  # of the JPEG images for training


class Product(Protocol):
    """Anything that is written while a run goes on."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None: ...
    def write(self, frame: Image, results: Mapping[Target, Result], time: float | None) -> None:
        """Takes a frame, and what is known of the targets in it; a target without a result is not followed there."""


class FollowingVideos(ExitStack):
    """A square clip for each target, in which it stays in the middle at its size; while it is lost the view stands still.

    Args:
        paths: by target; :func:`following_paths` names them.
        fps, pixel_aspect: as :class:`VideoWriter` takes them.

    Raises:
        OSError, ValueError: a file cannot be written (:class:`VideoWriter`).
    """

    def __init__(self, paths: Mapping[Target, Path], fps: float | None, pixel_aspect: Fraction = Fraction(1)) -> None:
        super().__init__()
        videos = {target: VideoWriter(path, fps, pixel_aspect) for target, path in paths.items()}
        self._videos = {target: self.enter_context(video) for target, video in videos.items()}
        self._views: dict[Target, tuple[CropView, int]] = {}  # and the side of the clip

    def write(self, frame: Image, results: Mapping[Target, Result], time: float | None) -> None:
        for target, result in results.items():
            if target not in self._views:
                view = CropView(result.box)
                self._views[target] = view, min(max(SMALLEST, round(view.side / 2) * 2), LARGEST)
            view, side = self._views[target]
            if not result.lost:
                view.follow(result.box)
            self._videos[target].write(crop(frame, view.cx, view.cy, view.side, side), time)


def following_paths(path: Path, targets: Mapping[Target, int]) -> dict[Target, Path]:
    """The clip of each target: the path itself or, of several, with the target's number behind its name."""
    if len(targets) == 1:
        return {target: path for target in targets}
    return {target: path.with_name(f"{path.stem}-{number}{path.suffix}") for target, number in targets.items()}


class HidingVideo(ExitStack):
    """The video with its targets made unreadable.

    A box gets a margin, the wider the less sure its score. While the score is under :data:`SURE`, the last sure place is hidden
    too, and grows: what is not seen for a moment must not be shown for a moment.

    Raises:
        OSError, ValueError: the file cannot be written (:class:`VideoWriter`).
    """

    def __init__(self, path: Path, fps: float | None, pixel_aspect: Fraction = Fraction(1)) -> None:
        super().__init__()
        self._video = self.enter_context(VideoWriter(path, fps, pixel_aspect))
        self._sure: dict[Target, tuple[Box, int]] = {}  # the last sure place, and frames since
        self.open_frames = 0
        """Frames in which there was nothing to hide, since no target was followed."""

    def write(self, frame: Image, results: Mapping[Target, Result], time: float | None) -> None:
        hidden = []
        self._sure = {target: sure for target, sure in self._sure.items() if target in results}
        for target, (box, score, lost) in results.items():
            since = self._sure[target][1] + 1 if target in self._sure else 0
            if (score >= SURE and not lost) or target not in self._sure:
                self._sure[target] = box, 0
            else:
                place = self._sure[target][0]
                self._sure[target] = place, since
                hidden.append(grown(place, MARGIN + min(SPREAD * since, MOST_SPREAD)))
            hidden.append(grown(box, MARGIN + (1 - score) / 2))
        self.open_frames += not hidden
        self._video.write(hide(frame, hidden), time)


class TrainingData:
    """Images and ground truth in GOT-10k's layout, a folder for each target, which ``read_got10k`` and the training read.

    A target's clip begins with its first box. Where it is lost or not followed, ``absence.label`` is 1. A clip grows in a hidden
    folder and gets its name when the block ends; of a killed run the hidden folder is left.

    Args:
        folder: new or empty.
        names: the clip of each target.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, folder: Path, names: Mapping[Target, str]) -> None:
        self._folder, self._names = folder, names
        folder.mkdir(parents=True, exist_ok=True)
        self._parts: dict[Target, Path] = {}
        self._counts: dict[Target, int] = {}

    def write(self, frame: Image, results: Mapping[Target, Result], time: float | None) -> None:
        for target in results:
            if target not in self._parts:
                self._parts[target] = self._folder / f".{self._names[target]}.{secrets.token_hex(4)}.part"
                self._parts[target].mkdir()
                self._counts[target] = 0
        image: Path | None = None
        for target, part in self._parts.items():
            self._counts[target] += 1
            path = part / f"{self._counts[target]:08d}.jpg"
            if image is None:
                path.write_bytes(encode_image(frame, ".jpg", quality=QUALITY, subsampling=0))
                image = path
            else:
                _same(image, path)
            result = results.get(target)
            box = (0.0, 0.0, 0.0, 0.0) if result is None else result.box
            with (part / "groundtruth.txt").open("a", encoding="ascii") as truth:
                truth.write(",".join(f"{value:.4f}" for value in box) + "\n")
            with (part / "absence.label").open("a", encoding="ascii") as labels:
                labels.write(f"{int(result is None or result.lost)}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for target, part in self._parts.items():
            take_place(part, self._folder / self._names[target])
        if self._parts:
            write_atomically(self._folder / "list.txt", "".join(f"{self._names[target]}\n" for target in self._parts))


def _same(image: Path, path: Path) -> None:
    """The same image by another name, without a copy where the file system can."""
    try:
        os.link(image, path)
    except OSError:
        shutil.copyfile(image, path)
