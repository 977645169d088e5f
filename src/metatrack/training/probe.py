"""Whether a meta-learner has learnt to learn: its kernels against none, against another target's and against one bank for all.

A meta-learner that ignores its input can still lower its training loss, with one bank of kernels that suits the average target.
So it is measured on targets that neither network has seen: each target's own kernels, made from early views, are compared on
later views with (a) no kernels, (b) the kernels of another target and (c) the mean of all targets' kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from metatrack.arrays import Array, Float32, Float64, Rng, UInt8
from metatrack.data.sequence import Sequence
from metatrack.geometry import EXEMPLAR_SIZE, SEARCH_SIZE, iou
from metatrack.model.matching import label_map, logistic_loss
from metatrack.runtime.model import Model
from metatrack.tracking.acceptance import margins
from metatrack.training.augment import Augmentation, View, apparent_size, jitter
from metatrack.training.mix import Source, boxed_frames
from metatrack.training.sampling import CELL, MAX_SHIFT, MAX_SHIFT_NEAR

KINDS = ("none", "own", "swapped", "constant")  # whose kernels a later view is searched with
QUERIES = 3  # later views of each target
EARLY = 1 / 3  # share of a trajectory, from its start, that the template and the views for the gradient are taken from
RESAMPLES = 2000  # of the targets, for an interval


class ProbeEpisode(NamedTuple):
    """One target: what kernels are made from, and later views to try them on."""

    template: UInt8  # (127, 127, 3)
    template_size: Float32  # (2,), width and height of the target in the template, in pixels of that patch
    contexts: UInt8  # (M + QUERIES, 255, 255, 3), the early ones first
    displacements: Float32  # (M + QUERIES, 2), x and y of the target from the context's centre, in cells
    sizes: Float32  # (M + QUERIES, 2), of the target in pixels of the context


@dataclass(frozen=True)
class Probe:
    """What was measured, a row for each target."""

    w_target: Float32  # (n, 32, C)
    share: Float64  # (n,), of the target's own kernels in the squared features of its template
    loss: Float64  # (n, 4): the balanced loss (6) of the later views, by KINDS
    margin: Float64  # (n, 4): logit at the target less the highest of all else
    overlap: Float64  # (n, 4): of the box at the highest logit with the target

    def summary(self, seed: int = 0) -> dict[str, Any]:
        """What a card says of it; an interval ``[mean, low, high]`` holds 95 % of the means of resampled targets."""
        flat = self.w_target.reshape(len(self.w_target), -1)
        unit = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
        between = (unit @ unit.T)[~np.eye(len(unit), dtype=bool)]
        rng = np.random.default_rng(seed)
        none, own, swapped, _ = self.loss.T
        return {
            "targets": len(self.share),
            "cosine": round(float(between.mean()), 3),
            "energy": [round(float(v), 3) for v in np.percentile(self.share, [5, 50, 95])],
            "loss": _by_kind(self.loss),
            "margin": _by_kind(self.margin),
            "overlap": _by_kind(self.overlap),
            "own_better_than_swapped": interval(own < swapped, rng),
            "own_better_than_none": interval(own < none, rng),
            "loss_gain": interval(none - own, rng),
            "margin_gain": interval(self.margin[:, 1] - self.margin[:, 0], rng),
            "overlap_gain": interval(self.overlap[:, 1] - self.overlap[:, 0], rng),
        }


def interval(values: Array, rng: Rng) -> list[float]:
    """Mean of the targets' values and the 2.5th and 97.5th percentile of the means of resampled targets."""
    values = np.asarray(values, np.float64)
    means = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(1)
    return [round(float(v), 4) for v in (values.mean(), *np.percentile(means, [2.5, 97.5]))]


def sentence(summary: dict[str, Any]) -> str:
    """The one line of it.

    >>> sentence({"own_better_than_swapped": [0.834, 0.79, 0.87], "targets": 320})
    "own kernels better than another target's in 83 % of 320 targets"
    """
    share = 100 * summary["own_better_than_swapped"][0]
    return f"own kernels better than another target's in {share:.0f} % of {summary['targets']} targets"


def draw_episodes(sources: Seq[Source], count: int, support: int, reach: float, seed: int = 0) -> Iterator[ProbeEpisode]:
    """An episode for each of up to ``count`` trajectories, no trajectory twice, the sources in turn.

    Args:
        sources: held-out trajectories; single images give views by warps alone.
        count: targets, at most.
        support: M, early views.
        reach: largest displacement of the target, in pixels of the context.
        seed: of the choice of frames and of the warps.
    """
    longest = max(len(source.sequences) for source in sources)
    turns = [(s, source.sequences[i]) for i in range(longest) for s, source in enumerate(sources) if i < len(source.sequences)]
    for number, (_, sequence) in enumerate(turns[:count]):
        yield _episode(sequence, support, reach, np.random.default_rng([seed, number]))


def _episode(sequence: Sequence, support: int, reach: float, rng: Rng) -> ProbeEpisode:
    frames = boxed_frames(sequence)
    still = len(frames) < 4
    early = frames[: max(2, round(len(frames) * EARLY))]
    late = frames if still else frames[len(early) :]
    chosen = [*rng.choice(early, support), *rng.choice(late, QUERIES, replace=len(late) < QUERIES)]
    drawn = Augmentation.draw(rng, still)
    first = View.of(sequence, int(early[0]))
    warp = drawn.warp(rng)
    template = drawn.color(drawn.cut(first, 1.0, np.zeros(2), EXEMPLAR_SIZE, warp), rng)
    contexts, places, sizes = [], [], []
    for frame in chosen:
        view = first if still else View.of(sequence, int(frame))
        shift = rng.uniform(-reach, reach, 2)
        its = drawn.warp(rng) @ jitter(rng, 0.5)
        contexts.append(drawn.color(drawn.cut(view, 1.0, shift, SEARCH_SIZE, its), rng))
        places.append(shift / CELL)
        sizes.append(apparent_size(view, its))
    size = apparent_size(first, warp).astype(np.float32)
    return ProbeEpisode(template, size, np.stack(contexts), np.array(places, np.float32), np.array(sizes, np.float32))


class _Target(NamedTuple):
    """An episode after the trunk."""

    template: Float32  # (1, C, k, k)
    parts: Float32 | None  # (1, C, 7, 7), for a box head
    template_size: Float32  # (1, 2)
    queries: Array  # (QUERIES, C, h, w) float16
    places: Float32  # (QUERIES, 2)
    sizes: Float32  # (QUERIES, 2)
    w_target: Float32  # (32, C)
    share: float


def probe(model: Model, last: tuple[Float32, Float32], sources: Seq[Source], count: int, seed: int = 0) -> Probe:
    """Measures a model's meta-learner on held-out trajectories.

    Args:
        model: a model that can adapt.
        last: its kernels w_N ``(K, C)`` and their bias ``(K,)``.
        sources: trajectories that neither network has seen.
        count: targets, at most; two at least are needed.
        seed: of the episodes.

    Raises:
        ValueError: the model has no meta-learner, or there is but one target.
    """
    if not model.can_adapt:
        raise ValueError(f"model {model.name!r} has no meta-learner to probe")
    reach = MAX_SHIFT_NEAR if model.has_boxes else MAX_SHIFT
    targets = [_embed(model, last, episode) for episode in draw_episodes(sources, count, model.support, reach, seed)]
    if len(targets) < 2:
        raise ValueError(f"{len(targets)} held-out target: a probe compares the kernels of several; name more videos in the mix")
    mean = np.mean([target.w_target for target in targets], axis=0)
    rows = [
        [_search(model, target, w) for w in (model.no_kernels, target.w_target, targets[i - 1].w_target, mean)]
        for i, target in enumerate(targets)
    ]
    loss, margin, overlap = np.array(rows, np.float64).transpose(2, 0, 1)
    return Probe(np.stack([t.w_target for t in targets]), np.array([t.share for t in targets]), loss, margin, overlap)


def _embed(model: Model, last: tuple[Float32, Float32], episode: ProbeEpisode) -> _Target:
    size, m = episode.template_size[None], model.support
    if model.has_boxes:
        template, parts = model.appearance(episode.template[None], size)
    else:
        template, parts = model.template(episode.template[None]), None
    features = model.search(episode.contexts)
    y = label_map(torch.from_numpy(episode.displacements[:m]), cells=model.response_cells).numpy()
    w_target = model.adapt(template, features[:m], y)
    cells = template[0].reshape(model.channels, -1)
    own, common = np.square(w_target @ cells).sum(), np.square(last[0] @ cells + last[1][:, None]).sum()
    queries = features[m:].astype(np.float16)
    share = float(own / (own + common))
    return _Target(template, parts, size, queries, episode.displacements[m:], episode.sizes[m:], w_target, share)


def _search(model: Model, target: _Target, w_target: Float32) -> tuple[float, float, float]:
    """Loss (6), margin and overlap with some kernels: means over the later views."""
    features = target.queries.astype(np.float32)
    n, cells = len(features), model.response_cells
    if target.parts is not None:
        response, logits, sides = model.locate(target.template, target.parts, features, w_target[None], target.template_size)
    else:
        response = logits = model.match(target.template, features, w_target)[:, 0]
        sides = None
    places = torch.from_numpy(target.places)
    loss = logistic_loss(torch.from_numpy(np.ascontiguousarray(response)), label_map(places, cells=cells))
    overlap = [_overlap(logits[i], None if sides is None else sides[i], target, i) for i in range(n)]
    return float(loss.mean()), float(margins(logits, target.places).mean()), float(np.mean(overlap))


def _overlap(logits: Float32, sides: Float32 | None, target: _Target, i: int) -> float:
    """Of the box at the highest logit with the target; without a box head, of a box of the target's own size."""
    row, column = np.unravel_index(int(np.argmax(logits)), logits.shape)
    x, y = (np.array([column, row]) - logits.shape[0] // 2) * CELL
    w, h = target.sizes[i]
    left, top, right, bottom = (w / 2, h / 2, w / 2, h / 2) if sides is None else sides[:, row, column]
    cx, cy = target.places[i] * CELL
    return float(iou((x - left, y - top, left + right, top + bottom), (cx - w / 2, cy - h / 2, w, h)))


def _by_kind(values: Float64) -> dict[str, float]:
    return {kind: round(float(mean), 4) for kind, mean in zip(KINDS, values.mean(0), strict=True)}
