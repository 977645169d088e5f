"""Views of one target: a template, early contexts that kernels are made from, and later ones that they are tried on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from metatrack.geometry import EXEMPLAR_SIZE, SEARCH_SIZE, context_side
from metatrack.training.augment import Augmentation, View, apparent_size, cover, jitter
from metatrack.training.sampling import WRONG_SCALE

SUPPORT, QUERIES = 3, 3
"""Contexts that give the gradient, and contexts that the loss is taken over."""
SIDE = 400
"""Of a scene that a cut-out is laid on, in pixels."""
REMEMBERED = 400
"""Earlier targets that stand in for distractors."""
Kind = Literal["video", "still", "cutout", "region"]
UInt8 = npt.NDArray[np.uint8]
Rng = np.random.Generator


class Item(NamedTuple):
    """Where one target is."""

    name: str
    kind: Kind
    path: Path  # of an image; of a folder in GOT-10k's layout for a video
    box: tuple[float, ...] = ()  # x, y, w, h, for a still
    early: int = SUPPORT  # contexts that give the gradient
    late: int = QUERIES  # contexts that the loss is taken over


class Views(NamedTuple):
    """One target."""

    templates: UInt8  # (1 or 3, 127, 127, 3); the second and third show less and more of what surrounds the target
    size: npt.NDArray[np.float32]  # (2,), of the target in the template, in its pixels
    contexts: UInt8  # (n, 255, 255, 3), the early ones first
    displacements: npt.NDArray[np.float32]  # (n, 2), in cells
    early: int


@dataclass
class Distractor:
    """An earlier target, pasted beside this one in some of its contexts, at about the same place in each."""

    patch: UInt8
    size: npt.NDArray[np.float64]
    angle: float
    zoom: float
    direction: float
    share: float
    gain: npt.NDArray[np.float64]

    def paste(self, context: UInt8, place: npt.NDArray[np.float64]) -> UInt8:
        """The context with it, inside a soft ellipse, at a place."""
        y, x = (np.mgrid[0:EXEMPLAR_SIZE, 0:EXEMPLAR_SIZE] - EXEMPLAR_SIZE // 2).astype(np.float32)
        w, h = self.size * 1.05 / 2
        soft = np.clip((1.25 - (x / w) ** 4 - (y / h) ** 4) * 2, 0, 1).astype(np.float32)
        middle = EXEMPLAR_SIZE // 2
        warp = np.asarray(cv2.getRotationMatrix2D((middle, middle), self.angle, self.zoom), np.float64)
        warp[:, 2] = warp[:, 2] + place - middle
        # Only the ellipse's surroundings: most of a context stays as it is.
        reach = 0.6 * self.zoom * float(self.size.max()) + 2
        left, top = np.maximum(place - reach, 0).astype(int)
        right, bottom = np.minimum(place + reach + 1, SEARCH_SIZE).astype(int)
        warp[:, 2] -= left, top
        side = (int(right - left), int(bottom - top))
        alpha = cv2.warpAffine(soft, warp, side)[..., None]
        patch = np.clip(cv2.warpAffine(self.patch, warp, side) * self.gain.astype(np.float32), 0, 255)
        result = context.copy()
        around = result[top:bottom, left:right]
        around[:] = around * (1 - alpha) + patch * alpha
        return result


class ViewMaker:
    """Makes views of one target after another; earlier ones are the later ones' distractors.

    Args:
        photographs: what lies behind cut-outs, and behind a frame's border.
        reach: largest displacement of the target in a later context, in pixels.
        scales: for a search at three scales, templates at two wrong ones beside the right one.
    """

    def __init__(self, photographs: list[Path], reach: float, scales: bool = False) -> None:
        self.photographs, self.reach, self.scales = photographs, reach, scales
        self.earlier: list[tuple[UInt8, npt.NDArray[np.float64]]] = []

    def views(self, item: Item, rng: Rng) -> Views | None:
        """Views of one target; None where there are too few frames or too few pixels."""
        scene = self._scenes(item, rng)
        if scene is None:
            return None
        first, later, still = scene
        drawn = Augmentation.draw(rng, still)
        if still or rng.random() < 0.15:
            drawn = replace(drawn, rotation=float(rng.choice([15, 30, 50])), stretch=0.15 if still else drawn.stretch)
        warp = drawn.warp(rng)
        factors = [1.0]
        if self.scales:
            low, high = (math.log(factor) for factor in WRONG_SCALE)
            wrong = math.exp(rng.uniform(low, high))
            factors += [1 / wrong, wrong]
        templates = [drawn.color(drawn.cut(first, factor, np.zeros(2), EXEMPLAR_SIZE, warp), rng) for factor in factors]
        distractors = self._distractors(rng)
        beyond = self._photograph(rng) if rng.random() < 0.5 else None
        contexts, displacements = [], []
        for i, view in enumerate(later):
            context, shift = self._context(drawn, view, i >= item.early, still, distractors, beyond, rng)
            contexts.append(context)
            displacements.append(shift / 8)
        plain = drawn.cut(first, 1.0, np.zeros(2), EXEMPLAR_SIZE, np.eye(2))
        self.earlier = [*self.earlier[-REMEMBERED + 1 :], (plain, apparent_size(first, np.eye(2)))]
        size = apparent_size(first, warp).astype(np.float32)
        return Views(np.stack(templates), size, np.stack(contexts), np.array(displacements, np.float32), item.early)

    def _context(
        self,
        drawn: Augmentation,
        view: View,
        far: bool,
        still: bool,
        distractors: list[Distractor],
        beyond: UInt8 | None,
        rng: Rng,
    ) -> tuple[UInt8, npt.NDArray[np.float64]]:
        """A context and the target's displacement in it, in pixels; a later one is further off and changed more."""
        reach = self.reach * (1.0 if far else 0.6)
        shift = rng.uniform(-reach, reach, 2)
        warp = drawn.warp(rng) @ jitter(rng, (1.0 if far else 0.5) * (1.0 if still else 0.5))
        context = drawn.cut(view, 1.0, shift, SEARCH_SIZE, warp, beyond if far or rng.random() < 0.8 else None)
        size, here = apparent_size(view, warp), SEARCH_SIZE / 2 + shift
        for each in distractors:
            if rng.random() < each.share:
                distance = rng.uniform(0.75, 1.6) * max(float(size.max()), float(each.size.max()) * 0.9)
                angle = each.direction + rng.normal(0, 0.5)
                place = here + distance * np.array([math.cos(angle), math.sin(angle)])
                if (place > 5).all() and (place < SEARCH_SIZE - 5).all():
                    context = each.paste(context, place)
        if far and rng.random() < 0.2:
            context = cover(context, here, size, rng)
        return drawn.color(context, rng), shift

    def _distractors(self, rng: Rng) -> list[Distractor]:
        """One or two earlier targets, mostly recent ones, which are often of the same data set."""
        if not self.earlier or rng.random() >= 0.65:
            return []
        made = []
        for _ in range(rng.integers(1, 3)):
            among = len(self.earlier) if rng.random() >= 0.8 else min(12, len(self.earlier))
            patch, size = self.earlier[-1 - int(rng.integers(among))]
            angle, zoom = float(rng.uniform(-20, 20)), math.exp(rng.normal(0, 0.12))
            direction, share = float(rng.uniform(0, 2 * math.pi)), float(rng.uniform(0.4, 1))
            made.append(Distractor(patch, size, angle, zoom, direction, share, np.exp(rng.normal(0, 0.1, 3))))
        return made

    def _scenes(self, item: Item, rng: Rng) -> tuple[View, list[View], bool] | None:
        """First view, the further ones, and whether all are of one picture."""
        if item.kind == "video":
            return _of_video(item, rng)
        if item.kind == "cutout":
            return self._of_cutout(item, rng)
        image = read(item.path)
        x, y, w, h = item.box if item.kind == "still" else region(image, rng)
        view = View(image, x + w / 2, y + h / 2, w, h)
        return view, [view] * (item.early + item.late), True

    def _of_cutout(self, item: Item, rng: Rng) -> tuple[View, list[View], bool] | None:
        """The cut-out on one photograph, and later on others."""
        cutout = read_cutout(item.path)
        if cutout is None:
            return None
        behind = [self._photograph(rng) for _ in range(3)]
        early = laid_on(cutout, behind[0])
        return early, [early] * item.early + [laid_on(cutout, behind[rng.integers(3)]) for _ in range(item.late)], True

    def _photograph(self, rng: Rng) -> UInt8:
        """A square part of a photograph, ``(SIDE, SIDE, 3)``."""
        image = read(self.photographs[rng.integers(len(self.photographs))])
        shrink = 700 / max(image.shape[:2])
        if shrink < 1:
            image = np.asarray(cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)
        side = min(*image.shape[:2], int(rng.uniform(240, 500)))
        y, x = (int(rng.integers(0, whole - side + 1)) for whole in image.shape[:2])
        return np.asarray(cv2.resize(image[y : y + side, x : x + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _of_video(item: Item, rng: Rng) -> tuple[View, list[View], bool] | None:
    """Template and early contexts from one end of the clip, later ones from the rest."""
    rows = [[float(v) for v in line.split(",")] for line in (item.path / "groundtruth.txt").read_text().split()]
    frames = sorted(item.path.glob("*.jpg"))
    known = [(frame, box) for frame, box in zip(frames, rows, strict=False) if min(box[2:]) > 2]
    if len(known) < item.early + 2:
        return None
    order = np.arange(len(known))[:: -1 if rng.random() < 0.4 else 1]
    cut = max(2, int(len(known) * rng.uniform(0.25, 0.5)))
    first = order[rng.integers(0, max(1, cut // 2))]
    support = rng.choice(order[:cut], item.early, replace=cut < item.early)
    queries = rng.choice(order[cut:], item.late, replace=len(known) - cut < item.late)

    def view(i: int) -> View:
        path, (x, y, w, h) = known[i]
        return View(read(path), x + w / 2, y + h / 2, w, h)

    return view(first), [view(i) for i in (*support, *queries)], False


def region(image: UInt8, rng: Rng) -> tuple[float, float, float, float]:
    """A box of rich texture anywhere in a photograph: nobody's object, and yet a target."""
    height, width = image.shape[:2]
    box = (0.0, 0.0, width / 2, height / 2)
    for _ in range(20):
        side = min(height, width) * math.exp(rng.uniform(math.log(0.15), math.log(0.45)))
        aspect = math.exp(rng.normal(0, 0.35))
        w, h = side * aspect**0.5, side / aspect**0.5
        x, y = (float(rng.uniform(0.1 * s, max(0.11 * s, whole - 1.1 * s))) for s, whole in ((w, width), (h, height)))
        box = (x, y, w, h)
        if image[int(y) : int(y + h), int(x) : int(x + w)].std() > 30:
            break
    return box


def read(path: Path) -> UInt8:
    """An image, RGB.

    Raises:
        ValueError: it is none.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path} is no image that OpenCV reads")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def read_cutout(path: Path) -> UInt8 | None:
    """A cut-out, RGBA, at the size where its context side is a template's; None where there is no object of use."""
    image: Any = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] != 4:
        return None
    rows, columns = np.nonzero(image[..., 3] > 100)
    if len(rows) < 60:
        return None
    image = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    h, w = image.shape[:2]
    if max(w / h, h / w) > 6 or min(h, w) < 14:
        return None
    zoom = EXEMPLAR_SIZE / context_side(w, h)
    size = (max(3, round(w * zoom)), max(3, round(h * zoom)))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA), np.uint8)


def laid_on(cutout: UInt8, photograph: UInt8) -> View:
    """A cut-out in the middle of a photograph."""
    h, w = (min(side, SIDE - 2) for side in cutout.shape[:2])
    y, x = (SIDE - h) // 2, (SIDE - w) // 2
    alpha = cutout[:h, :w, 3:] / np.float32(255)
    image = photograph.copy()
    image[y : y + h, x : x + w] = image[y : y + h, x : x + w] * (1 - alpha) + cutout[:h, :w, :3] * alpha
    return View(image, SIDE / 2, SIDE / 2, float(w), float(h))
