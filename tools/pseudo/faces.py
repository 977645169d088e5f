"""Faces, by a face detector in every frame.

A tracker that has learnt from whole people and things makes a face's box grow to the head, or to the person. Here the target is
the part that was given.

Frames are ``(H, W, 3)`` uint8 RGB, boxes ``x, y, w, h`` in pixels, 0-based.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from metatrack.arrays import Float64
from metatrack.geometry import Box, Image, iou
from tools.pseudo.alone import LONGEST_GAP, smoothed
from tools.pseudo.checks import SHORTEST

FACE = 1000
"""The class of faces, which is none of COCO's."""
LEAST_SURE, LEAST_MEAN = 0.6, 0.75
"""Score of a face, and the mean of a trajectory's."""
LEAST_SIDE = 14.0
"""Pixels of the frame."""
REPEATED = 0.3
"""Overlap from which two boxes are of one detection."""
SAME_FACE = 0.3
"""Overlap of a face with itself in the frame before."""
SMALL = 400
"""Pixels: a frame whose longer side is shorter is looked at twice as large."""


class Face(NamedTuple):
    """A box with its score."""

    box: Box
    score: float


Faces = Callable[[Image], "list[Face]"]
"""Of an image: the faces in it, the surest first."""


class YuNet:
    """A YuNet network (Wu et al. 2023) through OpenCV.

    Args:
        path: its ONNX file, see ``sources.toml``.
    """

    def __init__(self, path: Path) -> None:
        self._network = cv2.FaceDetectorYN.create(str(path), "", (320, 320), LEAST_SURE, REPEATED, 200)

    def __call__(self, image: Image) -> list[Face]:
        """The faces of an image, the surest first."""
        height, width = image.shape[:2]
        scale = 2 if max(height, width) < SMALL else 1
        shown = cv2.resize(image, (width * scale, height * scale), interpolation=cv2.INTER_LINEAR) if scale > 1 else image
        self._network.setInputSize(shown.shape[1::-1])
        _, rows = self._network.detect(np.ascontiguousarray(shown[..., ::-1]))
        found = [] if rows is None else [Face(Box(*(row[:4] / scale).tolist()), float(row[-1])) for row in rows]
        return sorted(found, key=lambda face: -face.score)


def followed_faces(seen: Sequence[Sequence[Face]], shape: tuple[int, ...]) -> list[tuple[int, Float64]]:
    """Faces that are seen in frames that follow each other, the longest first: index of the first frame, and boxes ``(n, 4)``.

    A face of the next frame goes to the track whose last box it overlaps most, and to one alone. Where a face is not seen for a
    frame or two, its boxes are interpolated.

    Args:
        seen: faces of each frame.
        shape: of a frame.
    """
    tracks: list[list[tuple[int, Face]]] = []
    for i, faces in enumerate(seen):
        open_ = [track for track in tracks if i - track[-1][0] <= LONGEST_GAP]
        pairs = [(float(iou(track[-1][1].box, face.box)), t, f) for t, track in enumerate(open_) for f, face in enumerate(faces)]
        tracks_left, faces_left = set(range(len(open_))), set(range(len(faces)))
        for overlap, t, f in sorted(pairs, reverse=True):
            if overlap > SAME_FACE and t in tracks_left and f in faces_left:
                open_[t].append((i, faces[f]))
                tracks_left.discard(t)
                faces_left.discard(f)
        tracks += [[(i, faces[f])] for f in sorted(faces_left) if min(faces[f].box[2:]) >= LEAST_SIDE]
    found = []
    for track in tracks:
        indices = [i for i, _ in track]
        if len(track) >= SHORTEST and np.mean([face.score for _, face in track]) >= LEAST_MEAN:
            boxes = smoothed(indices, np.array([face.box for _, face in track], np.float64), shape)
            found.append((indices[0], boxes))
    return sorted(found, key=lambda each: -len(each[1]))
