"""Validation by tracking: held-out trajectories under a moving, zooming camera, followed by the run-time tracker itself.

Training trajectories are crops around their target: on them, a tracker that never moves would win. A simulated camera gives
motion and changes of scale back, with boxes that are exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Seq
from typing import NamedTuple

import numpy as np
import torch

from metatrack.arrays import Float64
from metatrack.geometry import Image, context_side, iou, mean_color, warp
from metatrack.model.learners import Learner
from metatrack.model.matching import MatchingNetwork
from metatrack.runtime.model import Model, Within
from metatrack.runtime.torch_graph import Place, torch_graphs
from metatrack.runtime.torch_weights import architecture, networks_of
from metatrack.tracking.settings import TrackerSettings
from metatrack.tracking.tracker import Tracker
from metatrack.training.mix import Source, boxed_frames, shares
from metatrack.training.precision import Precision
from metatrack.training.sampling import framing_of
from metatrack.training.weights import on_cpu

VIEW = 384  # side of a simulated frame in pixels


class ViewedClip(NamedTuple):
    """A clip as the simulated camera sees it."""

    source: str
    frames: list[Image]  # each (VIEW, VIEW, 3)
    boxes: Float64  # (n, 4)


def simulate(sources: Seq[Source], count: int, length: int = 24, seed: int = 0) -> list[ViewedClip]:
    """Clips of ``length`` frames from the sources in turn by weight; a short trajectory is played forwards and backwards.

    Of a source that is ``reframed``, the target of that share of clips is another rectangle that is fixed to the data's.
    """
    probabilities = shares(sources)
    clips = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        source = sources[rng.choice(len(sources), p=probabilities)]
        sequence = source.sequences[rng.integers(len(source.sequences))]
        valid = boxed_frames(sequence)
        order = np.concatenate([valid, valid[-2:0:-1]]) if len(valid) > 2 else valid
        order = np.tile(order, math.ceil(length / len(order)))[:length]
        place, zoom = camera(rng, length)
        framing = framing_of(source, rng)
        targets = framing.of(sequence.boxes) if framing else sequence.boxes
        frames, boxes = [], []
        for i, frame in enumerate(order):
            image = sequence.frame(int(frame))
            x, y, w, h = targets[frame]
            scale = zoom[i] / context_side(*targets[order[0], 2:])  # view pixels per image pixel
            # Keep the whole target in view.
            half = np.minimum(np.array([w, h]) * scale / 2, VIEW / 2)
            center = np.clip(place[i], half, VIEW - half)
            middle = np.array([x + w / 2, y + h / 2])  # of the target, in the image
            frames.append(warp(image, np.eye(2) / scale, middle - center / scale, VIEW, mean_color(image)))
            boxes.append([center[0] - w * scale / 2, center[1] - h * scale / 2, w * scale, h * scale])
        clips.append(ViewedClip(source.name, frames, np.array(boxes)))
    return clips


def camera(rng: np.random.Generator, length: int) -> tuple[Float64, Float64]:
    """Where the target appears in the view ``(length, 2)`` and its context side in view pixels ``(length,)``: slow sines."""
    t = np.arange(length)[:, None]
    period, phase = rng.uniform((25, 25, 50), (60, 60, 120), (1, 3)), rng.uniform(0, 2 * math.pi, (1, 3))
    wave = np.sin(2 * math.pi * t / period + phase)
    place = VIEW / 2 + wave[:, :2] * rng.uniform(20, 100, (1, 2)) + rng.normal(0, 2, (length, 2))
    zoom = rng.uniform(80, 130) * np.exp(wave[:, 2] * rng.uniform(0.0, 0.4))
    return place, zoom


def model_of(network: MatchingNetwork, learner: Learner | None, precision: Precision, boxes: bool = True) -> Model:
    """The networks as they are now behind the run-time model's interface, so that validation needs no export.

    Args:
        network, learner: in evaluation mode, wherever they are; without a learner the model cannot adapt.
        precision: of the training; the model runs on the processor.
        boxes: with the box head, if there is one; without it, the response of equation (4) is all there is to read.
    """
    networks, precision = networks_of(on_cpu(network), learner and on_cpu(learner)), precision.on_cpu()
    if not boxes:
        networks = networks._replace(head=None)
    shape = architecture(network, learner)
    card = {"name": network.trunk_name, "architecture": shape, "tracking": {}, "calibration": {}}
    graphs = torch_graphs(networks, shape, Place(), torch.float32)
    model = Model(card, graphs, "torch", precision.name, str(precision), batch_head=True)
    return model.wrapped(lambda name, graph: Within(graph, precision.autocast) if name in ("embed", "search") else graph)


def track_clips(model: Model, clips: Seq[ViewedClip], adapt: bool = False) -> Float64:
    """Mean overlap of every clip, its given first frame not counted: ``(clips,)``."""
    chosen = TrackerSettings(scale_search={"pyramid": "template"}, adaptation={"interval": 5})
    means = []
    for clip in clips:
        tracker = Tracker(model, adapt=adapt, settings=chosen)
        tracker.init(clip.frames[0], clip.boxes[0])
        boxes = [tracker.update(frame).box for frame in clip.frames[1:]]
        means.append(iou(np.array(boxes), clip.boxes[1:]).mean())
    return np.array(means)
