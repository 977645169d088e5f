"""Training material: sources, pairs and their augmentation. Every sample is a pure function of ``(seed, index)``.

So a run that is resumed sees what an uninterrupted one would have seen, whatever the number of worker processes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from metatrack.data.got10k import read_got10k, read_stills
from metatrack.data.sequence import Sequence
from metatrack.geometry import EXEMPLAR_SIZE, SEARCH_SIZE, Image, context_side, mean_color
from metatrack.geometry import warp as resample

CELL = 8
"""Pixels of the context patch per cell of the response."""
MAX_GAP = 60
"""Frames between template and search, at most. Trajectories are often samples of their video, so this may be many seconds."""
MAX_SHIFT = 44.0
"""Largest displacement of the target from the context patch's centre, in pixels of that patch, along each axis."""
WRONG_SCALE = (1.04, 1.22)
"""Least and largest factor by which the wrong-scale template is off."""

MAX_SHIFT_NEAR, MAX_SHIFT_FAR = 60.0, 88.0
"""The same as MAX_SHIFT for box heads, whose response is wider; three pairs in ten go as far as the second."""
SIZE_JITTER, SHAPE_JITTER = 0.18, 0.10
"""Standard deviation of the logarithm of the change of size, and of aspect, between template and context."""
TURNED, MAX_TURN = 0.15, 50.0
"""Share of pairs whose patches are turned in the plane, and by how many degrees at most."""
COVERED = 0.2
"""Share of contexts whose target is partly covered by another part of the picture."""
FOREIGN_BORDER = 0.5
"""Share of contexts in which another scene lies behind the frame's border. A border of one colour gives the target's place away:
trajectories are crops around their target."""


@dataclass(frozen=True)
class Source:
    """Trajectories that are drawn with one total weight, each trajectory alike."""

    name: str
    sequences: tuple[Sequence, ...]
    weight: float


def load_mix(path: Path) -> list[Source]:
    """Reads a mix of training data: a JSON list of ``{"name", "root", "split" or "stills": true, "pattern", "weight"}``.

    Relative roots start from the mix file's folder; ``pattern`` (default ``*``) selects trajectories by name.

    Raises:
        ValueError: the file is not JSON (the message says where), or an entry is not of that form, or selects nothing.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error
    sources = []
    for entry in entries:
        unknown = set(entry) - {"name", "root", "split", "stills", "pattern", "weight"}
        if unknown or not {"name", "root", "weight"} <= set(entry):
            raise ValueError(
                f"{path}: entry {entry} needs name, root, weight; may have split, stills, pattern; not {sorted(unknown)}"
            )
        root = (path.parent / entry["root"]).resolve()
        found = read_stills(root) if entry.get("stills") else read_got10k(root, entry.get("split"))
        pattern = entry.get("pattern", "*")
        chosen = tuple(s for s in found if any(fnmatch(s.name, p) for p in pattern.split("|")))
        if not chosen:
            raise ValueError(f"{path}: no trajectory in {root} matches {pattern!r}")
        sources.append(Source(entry["name"], chosen, float(entry["weight"])))
    return sources


class Pair(NamedTuple):
    """One training sample; images are RGB uint8."""

    template: Image  # (127, 127, 3)
    wrong: Image  # (127, 127, 3), the same target cropped at a wrong scale
    search: Image  # (255, 255, 3)
    displacement: npt.NDArray[np.float32]  # (2,), x and y of the target from the context's centre, in cells


class BoxPair(NamedTuple):
    """One training sample for a network with a box head; images are RGB uint8."""

    template: Image  # (127, 127, 3)
    search: Image  # (255, 255, 3)
    displacement: npt.NDArray[np.float32]  # (2,), x and y of the target from the context's centre, in cells
    template_size: npt.NDArray[np.float32]  # (2,), width and height of the target in the template, in pixels of that patch
    size: npt.NDArray[np.float32]  # (2,), the same in the context


class Clip(NamedTuple):
    """One target through time, for an episode of the meta-learner."""

    templates: Image  # (3, 127, 127, 3): at the right scale, a smaller and a larger context side; for a box head, the first alone
    searches: Image  # (n, 255, 255, 3)
    displacements: npt.NDArray[np.float32]  # (n, 2), in cells


class View(NamedTuple):
    """A frame and where its target is."""

    frame: Image
    cx: float
    cy: float
    w: float
    h: float


class PairSampler:
    """Draws pairs from a mix of sources."""

    def __init__(self, sources: Seq[Source], seed: int) -> None:
        self.sources = list(sources)
        self.seed = seed
        weights = np.array([s.weight for s in self.sources])
        self.probabilities = weights / weights.sum()

    def pair(self, index: int) -> Pair:
        """The training pair number ``index``."""
        rng = np.random.default_rng([self.seed, index])
        first, second, still = self._two_views(rng)
        look = Look.draw(rng, still)
        shift = rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2)
        low, high = (math.log(f) for f in WRONG_SCALE)
        factor = math.exp(rng.uniform(low, high) * rng.choice((-1, 1)))
        template, wrong = look.template(first, (1.0, factor), rng)
        search = look.search(second, shift, rng)
        return Pair(template, wrong, search, (shift / CELL).astype(np.float32))

    def box_pair(self, index: int) -> BoxPair:
        """The training pair number ``index`` for a box head: size and shape differ, because the head is to read them off."""
        rng = np.random.default_rng([self.seed, 2**34, index])
        first, second, still = self._two_views(rng)
        look = Look.draw(rng, still)
        if rng.random() < TURNED:
            look = replace(look, rotation=MAX_TURN)
        other = self._other_scene(rng) if rng.random() < FOREIGN_BORDER else None
        reach = MAX_SHIFT_FAR if rng.random() < 0.3 else MAX_SHIFT_NEAR
        shift = rng.uniform(-reach, reach, 2)
        template_warp, search_warp = look.warp(rng), look.warp(rng) @ jitter(rng, 1.4 if still else 1.0)
        template = look.color(look.cut(first, 1.0, np.zeros(2), EXEMPLAR_SIZE, template_warp), rng)
        search = look.cut(second, 1.0, shift, SEARCH_SIZE, search_warp, other)
        size = apparent_size(second, search_warp)
        if rng.random() < COVERED:
            search = cover(search, shift + SEARCH_SIZE / 2, size, rng)
        search = look.color(search, rng)
        return BoxPair(
            template,
            search,
            (shift / CELL).astype(np.float32),
            apparent_size(first, template_warp).astype(np.float32),
            size.astype(np.float32),
        )

    def _other_scene(self, rng: np.random.Generator) -> Image:
        """A frame of any trajectory, to stand where a cut-out of a frame ends."""
        sequence, valid = self._sequence(rng)
        return sequence.frame(int(rng.choice(valid)))

    def clip(self, index: int, contexts: int, boxes: bool = False) -> Clip:
        """The clip number ``index``: contexts of one target, in the order of time where it has enough frames.

        With ``boxes``, for a box head: one template, and contexts as wide and as jittered as in :meth:`box_pair`.
        """
        rng = np.random.default_rng([self.seed, 2**33, index])
        sequence, valid = self._sequence(rng)
        anchor = int(rng.choice(valid))
        others = valid[valid != anchor] if len(valid) > 1 else valid
        frames = np.sort(rng.choice(others, contexts, replace=len(others) < contexts))
        look = Look.draw(rng, still=len(others) < contexts)
        first = self._view(sequence, anchor)
        if boxes:
            templates = np.stack(look.template(first, (1.0,), rng))
            shifts = rng.uniform(-MAX_SHIFT_NEAR, MAX_SHIFT_NEAR, (contexts, 2))
            searches = []
            for f, shift in zip(frames, shifts, strict=True):
                other = self._other_scene(rng) if rng.random() < FOREIGN_BORDER else None
                warp = look.warp(rng) @ jitter(rng, 0.5)
                searches.append(look.color(look.cut(self._view(sequence, int(f)), 1.0, shift, SEARCH_SIZE, warp, other), rng))
            return Clip(templates, np.stack(searches), (shifts / CELL).astype(np.float32))
        low, high = (math.log(f) for f in WRONG_SCALE)
        wrong = math.exp(rng.uniform(low, high))
        templates = np.stack(look.template(first, (1.0, 1 / wrong, wrong), rng))
        shifts = rng.uniform(-MAX_SHIFT, MAX_SHIFT, (contexts, 2))
        searches = [look.search(self._view(sequence, int(f)), shift, rng) for f, shift in zip(frames, shifts, strict=True)]
        return Clip(templates, np.stack(searches), (shifts / CELL).astype(np.float32))

    def _sequence(self, rng: np.random.Generator) -> tuple[Sequence, npt.NDArray[np.intp]]:
        """A trajectory, and its frames that have a box."""
        source = self.sources[rng.choice(len(self.sources), p=self.probabilities)]
        sequence = source.sequences[rng.integers(len(source.sequences))]
        valid = np.flatnonzero(np.isfinite(sequence.boxes).all(1) & (sequence.boxes[:, 2:] > 2).all(1))
        if len(valid) == 0:
            raise ValueError(f"{sequence.name}: no frame has a box of more than 2x2 pixels")
        return sequence, valid

    def _two_views(self, rng: np.random.Generator) -> tuple[View, View, bool]:
        """Two frames of one trajectory (the same frame twice where it has only one), in random order."""
        sequence, valid = self._sequence(rng)
        a = int(rng.choice(valid))
        near = valid[(np.abs(valid - a) <= MAX_GAP) & (valid != a)]
        b = int(rng.choice(near)) if len(near) else a
        return self._view(sequence, a), self._view(sequence, b), a == b

    @staticmethod
    def _view(sequence: Sequence, index: int) -> View:
        x, y, w, h = sequence.boxes[index]
        return View(sequence.frame(index), x + w / 2, y + h / 2, w, h)


@dataclass(frozen=True)
class Look:
    """The augmentation that template and search of one pair share; the rest is drawn for each crop.

    Position and scale are NEVER jittered here: a pair of the right scale has exactly that, or the network learns to ignore scale.
    """

    flip: bool
    gray: bool
    rotation: float
    stretch: float

    @classmethod
    def draw(cls, rng: np.random.Generator, still: bool) -> Look:
        """A random look; two crops of a single image are told apart by stronger warps."""
        return cls(
            flip=bool(rng.random() < 0.5),
            gray=bool(rng.random() < 0.15),
            rotation=20.0 if still else 6.0,
            stretch=0.12 if still else 0.03,
        )

    def template(self, view: View, factors: Seq[float], rng: np.random.Generator) -> list[Image]:
        """Target patches at several context sides (times ``factors``) that differ in nothing else."""
        warp = self.warp(rng)
        state = rng.bit_generator.state
        patches = []
        for factor in factors:
            rng.bit_generator.state = state
            patches.append(self.color(self.cut(view, factor, np.zeros(2), EXEMPLAR_SIZE, warp), rng))
        return patches

    def search(self, view: View, shift: npt.NDArray[np.float64], rng: np.random.Generator) -> Image:
        """A context patch in which the target is ``shift`` pixels off the centre."""
        return self.color(self.cut(view, 1.0, shift, SEARCH_SIZE, self.warp(rng)), rng)

    def warp(self, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """A rotation and an area-preserving change of aspect, 2x2."""
        angle = math.radians(rng.uniform(-self.rotation, self.rotation))
        stretch = math.exp(rng.uniform(-self.stretch, self.stretch))
        c, s = math.cos(angle), math.sin(angle)
        return np.array([[c, -s], [s, c]]) @ np.diag([stretch, 1 / stretch])

    def cut(
        self,
        view: View,
        factor: float,
        shift: npt.NDArray[np.float64],
        size: int,
        warp: npt.NDArray[np.float64],
        beyond: Image | None = None,
    ) -> Image:
        """As :func:`metatrack.geometry.crop`, with a warp around the target, the flip, and the scene ``beyond`` the border."""
        scale = context_side(view.w, view.h) * factor / EXEMPLAR_SIZE  # image pixels per patch pixel
        frame, cx, cy = view.frame, view.cx, view.cy
        shrink = int(scale)
        if shrink >= 2:
            height, width = frame.shape[0] // shrink, frame.shape[1] // shrink
            part = frame[: height * shrink, : width * shrink]
            frame = np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
            cx, cy, scale = cx / shrink, cy / shrink, scale / shrink
        linear = scale * warp
        if self.flip:
            linear = linear @ np.diag([-1.0, 1.0])
        # The patch's coordinate u shows the image at target + linear (u - size / 2 - shift).
        offset = np.array([cx, cy]) - linear @ (shift + size / 2)
        patch = resample(frame, linear, offset, size, mean_color(frame))
        if beyond is not None:
            inside = cv2.erode(resample(np.full_like(frame, 255), linear, offset, size), np.ones((3, 3), np.uint8))
            scene = cv2.resize(beyond, (size, size), interpolation=cv2.INTER_AREA)
            patch = np.where(inside > 127, patch, scene)
        return patch

    def color(self, patch: Image, rng: np.random.Generator) -> Image:
        """Gain per channel, contrast, blur, low resolution and noise."""
        if rng.random() < 0.12:  # motion blur
            length = int(rng.integers(3, 10))
            kernel = np.zeros((length, length), np.float32)
            angle = rng.uniform(0, math.pi)
            half = (length - 1) / 2
            dx, dy = half * math.cos(angle), half * math.sin(angle)
            cv2.line(kernel, (round(half - dx), round(half - dy)), (round(half + dx), round(half + dy)), 1.0)
            patch = np.asarray(cv2.filter2D(patch, -1, kernel / kernel.sum()), np.uint8)
        if rng.random() < 0.15:  # a target of few pixels
            size = patch.shape[0]
            small = max(16, int(size * rng.uniform(0.2, 0.6)))
            tiny = cv2.resize(patch, (small, small), interpolation=cv2.INTER_AREA)
            patch = np.asarray(cv2.resize(tiny, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)
        if self.gray:
            patch = np.asarray(cv2.cvtColor(cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)
        gain = np.exp(rng.normal(0, 0.12) + (0 if self.gray else rng.normal(0, 0.05, 3))) * np.ones(3)
        contrast = math.exp(rng.normal(0, 0.12))
        lut = np.clip(((np.arange(256)[:, None] - 128) * contrast + 128) * gain + rng.normal(0, 6), 0, 255).astype(np.uint8)
        patch = np.asarray(cv2.LUT(patch, lut[None]), np.uint8)
        if rng.random() < 0.1:
            noise = rng.normal(0, rng.uniform(2, 10), patch.shape).astype(np.float32)
            patch = np.clip(patch + noise, 0, 255).astype(np.uint8)
        return patch


def apparent_size(view: View, linear: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Width and height in patch pixels of a view's target cut with a warp: of the ellipse in its box, tight under any turn.

    >>> apparent_size(View(np.zeros((1, 1, 3), np.uint8), 0, 0, 20.0, 20.0), np.eye(2)).round(2)
    array([63.5, 63.5])
    """
    scale = context_side(view.w, view.h) / EXEMPLAR_SIZE
    to_patch = np.linalg.inv(scale * linear)
    spread = to_patch @ np.diag([view.w**2, view.h**2]) @ to_patch.T
    return np.asarray(np.sqrt(np.diag(spread)))


def jitter(rng: np.random.Generator, strength: float) -> npt.NDArray[np.float64]:
    """A random change of size and shape, as a warp: image pixels per patch pixel, 2x2."""
    grow, shape = np.exp(rng.normal(0, SIZE_JITTER * strength)), np.exp(rng.normal(0, SHAPE_JITTER * strength))
    return np.diag([1 / (grow * shape), shape / grow])


def cover(patch: Image, center: npt.NDArray[np.float64], size: npt.NDArray[np.float64], rng: np.random.Generator) -> Image:
    """Lays a rectangle of the patch's other parts over a side of the target: up to 45 % of its width or height."""
    height, width = patch.shape[:2]
    w, h = (size * (rng.uniform(0.2, 0.45), rng.uniform(0.6, 1.2))[:: rng.choice((-1, 1))]).clip(4, 120).astype(int)
    side = rng.choice((-1, 1), 2)
    x, y = (center + side * (size - (w, h)) / 2 - (w / 2, h / 2)).astype(int)
    u, v = rng.integers(0, width - w), rng.integers(0, height - h)
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
    if x1 <= x0 or y1 <= y0:
        return patch
    result = patch.copy()
    result[y0:y1, x0:x1] = patch[v : v + y1 - y0, u : u + x1 - x0]
    return result
