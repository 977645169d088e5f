"""Training samples: pairs and clips. Every sample is a pure function of ``(seed, index)``.

So a run that is resumed sees what an uninterrupted one would have seen, whatever the number of worker processes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Seq
from dataclasses import replace
from typing import Generic, TypeVar

import numpy as np
from typing_extensions import NamedTuple  # a generic one, which typing has from Python 3.11 on

from metatrack.arrays import Array, Integers
from metatrack.data.sequence import Sequence
from metatrack.geometry import EXEMPLAR_SIZE, SEARCH_SIZE, Image
from metatrack.training.augment import Augmentation, Framing, View, apparent_size, cover, jitter
from metatrack.training.mix import Source, boxed_frames, shares
from metatrack.training.mix import load_mix as load_mix  # the place where it was before; it stays valid

CELL = 8  # pixels of the context patch per cell of the response
MAX_GAP = 60
"""Frames between template and search, at most. Trajectories are often samples of their video, so this may be many seconds."""
MAX_SHIFT = 44.0
"""Largest displacement of the target from the context patch's centre, in pixels of that patch, along each axis."""
WRONG_SCALE = (1.04, 1.22)  # least and largest factor by which the wrong-scale template is off
MAX_SHIFT_NEAR, MAX_SHIFT_FAR = 60.0, 88.0
"""The same as MAX_SHIFT for box heads, whose response is wider; three pairs in ten go as far as the second."""
TURNED, MAX_TURN = 0.15, 50.0  # share of pairs whose patches are turned in the plane, and by how many degrees at most
COVERED = 0.2  # share of contexts whose target is partly covered by another part of the picture
FOREIGN_BORDER = 0.5
"""Share of contexts in which another scene lies behind the frame's border. A border of one colour gives the target's place away:
trajectories are crops around their target."""
A = TypeVar("A")
"""What a sample is made of: arrays, or tensors, of one sample or of a batch. Images are RGB uint8, all else float32."""


class Pair(NamedTuple, Generic[A]):
    """One training sample."""

    template: A  # (127, 127, 3)
    wrong: A  # (127, 127, 3), the same target cropped at a wrong scale
    search: A  # (255, 255, 3)
    displacement: A  # (2,), x and y of the target from the context's centre, in cells


class BoxPair(NamedTuple, Generic[A]):
    """One training sample for a network with a box head."""

    template: A  # (127, 127, 3)
    search: A  # (255, 255, 3)
    displacement: A  # (2,), x and y of the target from the context's centre, in cells
    template_size: A  # (2,), width and height of the target in the template, in pixels of that patch
    size: A  # (2,), the same in the context


class Clip(NamedTuple, Generic[A]):
    """One target through time, for an episode of the meta-learner."""

    templates: A  # (3, 127, 127, 3): at the right scale, a smaller and a larger context side; for a box head, the first alone
    searches: A  # (n, 255, 255, 3)
    displacements: A  # (n, 2), in cells


class PairSampler:
    """Draws pairs from a mix of sources."""

    def __init__(self, sources: Seq[Source], seed: int) -> None:
        self.sources = list(sources)
        self.seed = seed
        self.shares = shares(self.sources)

    def pair(self, index: int) -> Pair[Array]:
        """The training pair number ``index``."""
        rng = np.random.default_rng([self.seed, index])
        first, second, still = self._two_views(rng)
        drawn = Augmentation.draw(rng, still)
        shift = rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2)
        factor = math.exp(_wrong_scale(rng) * rng.choice((-1, 1)))
        template, wrong = drawn.template(first, (1.0, factor), rng)
        search = drawn.search(second, shift, rng)
        return Pair(template, wrong, search, (shift / CELL).astype(np.float32))

    def box_pair(self, index: int) -> BoxPair[Array]:
        """The training pair number ``index`` for a box head: size and shape differ, because the head is to read them off."""
        rng = np.random.default_rng([self.seed, 2**34, index])
        first, second, still = self._two_views(rng)
        drawn = Augmentation.draw(rng, still)
        if rng.random() < TURNED:
            drawn = replace(drawn, rotation=MAX_TURN)
        other = self._other_scene(rng) if rng.random() < FOREIGN_BORDER else None
        reach = MAX_SHIFT_FAR if rng.random() < 0.3 else MAX_SHIFT_NEAR
        shift = rng.uniform(-reach, reach, 2)
        template_warp, search_warp = drawn.warp(rng), drawn.warp(rng) @ jitter(rng, 1.4 if still else 1.0)
        template = drawn.color(drawn.cut(first, 1.0, np.zeros(2), EXEMPLAR_SIZE, template_warp), rng)
        search = drawn.cut(second, 1.0, shift, SEARCH_SIZE, search_warp, other)
        size = apparent_size(second, search_warp)
        if rng.random() < COVERED:
            search = cover(search, shift + SEARCH_SIZE / 2, size, rng)
        search = drawn.color(search, rng)
        return BoxPair(
            template,
            search,
            (shift / CELL).astype(np.float32),
            apparent_size(first, template_warp).astype(np.float32),
            size.astype(np.float32),
        )

    def _other_scene(self, rng: np.random.Generator) -> Image:
        """A frame of any trajectory, to stand where a cut-out of a frame ends."""
        sequence, valid = self._sequence(self._source(rng), rng)
        return sequence.frame(int(rng.choice(valid)))

    def clip(self, index: int, contexts: int, boxes: bool = False) -> Clip[Array]:
        """The clip number ``index``: contexts of one target, in the order of time where it has enough frames.

        With ``boxes``, for a box head: one template, and contexts as wide and as jittered as in :meth:`box_pair`.
        """
        rng = np.random.default_rng([self.seed, 2**33, index])
        source = self._source(rng)
        sequence, valid = self._sequence(source, rng)
        anchor = int(rng.choice(valid))
        others = valid[valid != anchor] if len(valid) > 1 else valid
        frames = np.sort(rng.choice(others, contexts, replace=len(others) < contexts))
        framing = framing_of(source, rng)
        drawn = Augmentation.draw(rng, still=len(others) < contexts)
        wrong = 1.0 if boxes else math.exp(_wrong_scale(rng))
        reach = MAX_SHIFT_NEAR if boxes else MAX_SHIFT
        templates = drawn.template(View.of(sequence, anchor).framed(framing), (1.0,) if boxes else (1.0, 1 / wrong, wrong), rng)
        shifts = rng.uniform(-reach, reach, (contexts, 2))
        searches = []
        for frame, shift in zip(frames, shifts, strict=True):
            other = self._other_scene(rng) if boxes and rng.random() < FOREIGN_BORDER else None
            warp = drawn.warp(rng) @ jitter(rng, 0.5) if boxes else drawn.warp(rng)
            view = View.of(sequence, int(frame)).framed(framing)
            searches.append(drawn.color(drawn.cut(view, 1.0, shift, SEARCH_SIZE, warp, other), rng))
        return Clip(np.stack(templates), np.stack(searches), (shifts / CELL).astype(np.float32))

    def _source(self, rng: np.random.Generator) -> Source:
        return self.sources[rng.choice(len(self.sources), p=self.shares)]

    def _sequence(self, source: Source, rng: np.random.Generator) -> tuple[Sequence, Integers]:
        """A trajectory, and its frames that have a box."""
        sequence = source.sequences[rng.integers(len(source.sequences))]
        return sequence, boxed_frames(sequence)

    def _two_views(self, rng: np.random.Generator) -> tuple[View, View, bool]:
        """Two frames of one trajectory (the same frame twice where it has only one), in random order."""
        source = self._source(rng)
        sequence, valid = self._sequence(source, rng)
        a = int(rng.choice(valid))
        near = valid[(np.abs(valid - a) <= MAX_GAP) & (valid != a)]
        b = int(rng.choice(near)) if len(near) else a
        framing = framing_of(source, rng)
        return View.of(sequence, a).framed(framing), View.of(sequence, b).framed(framing), a == b


def framing_of(source: Source, rng: np.random.Generator) -> Framing | None:
    """The rectangle that stands for the target's in all frames of a sample; None for the target's own.

    Nothing is drawn for a source that has none, so that such samples are what they were before there were any.
    """
    return Framing.draw(rng) if source.reframed and rng.random() < source.reframed else None


def _wrong_scale(rng: np.random.Generator) -> float:
    """The logarithm of a factor within :data:`WRONG_SCALE`."""
    low, high = map(math.log, WRONG_SCALE)
    return rng.uniform(low, high)
