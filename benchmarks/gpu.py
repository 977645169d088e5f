"""The networks on a GPU, run by onnxruntime and by torch, beside the same on the CPU; the rest stays where it is."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from benchmarks.clip import Clip, read_clip
from benchmarks.fps import WARM, follow, in_turn
from benchmarks.graphs import record, work
from benchmarks.options import Options
from benchmarks.page import ABSENT, Section, Table, median, number, percent, spread
from benchmarks.peaks import best_seconds
from benchmarks.targets import boxes, follow_together
from metatrack.geometry import SEARCH_SIZE
from metatrack.runtime.bundle import open_bundle
from metatrack.runtime.load import build_model, load_model
from metatrack.runtime.model import Model
from metatrack.tracking.appearance import BoxAppearance
from metatrack.tracking.patches import Patches
from metatrack.tracking.tracker import Tracker

TITLE = "GPU"
CPU, ORT_GPU, TORCH_GPU = "onnxruntime, CPU", "onnxruntime, GPU", "torch, GPU"
TARGETS = (1, 16, 1024)
MOST_ON_CPU = 16
"""Targets that are followed on the CPU, too; more would only take time."""
FRAMES = 11
"""At least so many with several targets; the first one is init's."""
PEAK_SIDE = 8192
"""Of the square matrices whose product stands for the card's peak."""


def measure(options: Options) -> Section:
    """The first model, one target and several."""
    name = options.model_names[0]
    models, missing = engines(name, options.thread_count)
    notes = [f"Not measured: {reason}" for reason in missing]
    if not models:
        return Section(TITLE, notes)
    clip = read_clip(options.frames)
    card, peak = card_peak() if TORCH_GPU in models else ("the card (measured with torch alone)", math.nan)
    update, context = operations(name, clip, options.thread_count)
    says = (
        f"{Path(name).name}; crops and everything but the graphs stay on the CPU. A target and frame cost {number(update / 1e6)}"
        " million operations in the mean, adaptation included: two for each multiplication and addition of convolutions and"
        f" matrix products in the float32 graphs. The peak of {card} is {number(peak / 1e12)} million million a second, in a"
        f" product of matrices in half precision. *Networks alone*: contexts in ({number(context / 1e6)} million operations each)"
        " and maps of the head out, both in the CPU's memory."
    )
    models = {CPU: load_model(name, options.thread_count), **models}
    rows = [line for count in TARGETS for line in lines(count, throughput(models, clip, count, options), update / peak)]
    if TORCH_GPU in models and models[TORCH_GPU].has_boxes:
        rows += [alone(models[TORCH_GPU], clip, count, context / peak) for count in TARGETS]
    columns = ("what", "targets times frames a second", "quartiles", "ms an update", "against the CPU", "share of the peak")
    return Section(TITLE, [*notes, says, Table(columns, rows)])


def engines(name: str, threads: int) -> tuple[dict[str, Model], list[str]]:
    """A model for each engine that has a GPU here, and why others have none."""
    models: dict[str, Model] = {}
    missing = []
    try:
        models[ORT_GPU] = load_model(name, threads, engine="cuda")
    except ValueError as error:
        missing.append(f"{error}; then this command again with `--only gpu`.")
    try:
        models[TORCH_GPU] = build_model(open_bundle(name), engine="torch", device="cuda")
    except (ModuleNotFoundError, ValueError) as error:
        missing.append(f"{error}. On a machine with a GPU: `pip install 'metatrack[train]'`, and this command with `--only gpu`.")
    return models, missing


def throughput(models: dict[str, Model], clip: Clip, count: int, options: Options) -> dict[str, list[float]]:
    """Targets times frames a second, by engine, of every round; a single target has a Tracker of its own."""
    frames = min(len(clip.frames), max(FRAMES, 1 + options.target_frames // count))
    taking_part = [(place, model) for place, model in models.items() if place != CPU or count <= MOST_ON_CPU]
    rates: dict[str, list[float]] = {place: [] for place, _ in taking_part}
    for n in range(-1, options.rounds):  # the first choose their algorithms and capture their graphs, which takes seconds
        for place, model in in_turn(taking_part, max(n, 0)):
            if count == 1:
                rate = follow(Tracker(model), clip, len(clip.frames) if n >= 0 else WARM).rate
            else:
                rate = count * (frames - 1) / follow_together(model, clip, boxes(clip, count), frames)[0]
            if n >= 0:
                rates[place].append(rate)
    return rates


def lines(count: int, rates: dict[str, list[float]], cost: float) -> list[tuple[str, ...]]:
    """Of the table.

    Args:
        count: targets.
        rates: targets times frames a second, by engine, of every round.
        cost: seconds that the card's peak would take for a target in a frame.
    """
    return [
        (
            f"{named(count)}, {place}",
            number(median(own)),
            spread(own),
            number(1000 * count / median(own)),
            number(median([rate / other for rate, other in zip(own, rates.get(CPU, []))])),
            ABSENT if place == CPU else percent(median(own) * cost),
        )
        for place, own in rates.items()
    ]


def alone(model: Model, clip: Clip, count: int, cost: float) -> tuple[str, ...]:
    """A line for trunk and head of the torch engine without the rest of a tracker."""
    tracker = Tracker(model, settings={"near_size": SEARCH_SIZE})
    tracker.init(clip.frames[0], clip.box)
    own = tracker.started.appearance
    if not isinstance(own, BoxAppearance):
        raise ValueError(f"model {model.name!r} has no box head")
    crops = np.repeat(tracker.contexts(Patches(clip.frames[1])), count, axis=0)
    one = (own.now.template, own.now.parts, tracker.started.w_target[None], own.size)
    template, parts, w_target, size = (np.repeat(array, count, axis=0) for array in one)
    seconds = best_seconds(lambda: model.locate(template, parts, model.search(crops), w_target, size))
    rate = count / seconds
    return (
        f"{named(count)}, {TORCH_GPU}, networks alone",
        number(rate),
        ABSENT,
        number(1000 * seconds),
        ABSENT,
        percent(rate * cost),
    )


def named(count: int) -> str:
    """So many targets.

    >>> named(1), named(1024)
    ('one target', '1,024 targets')
    """
    return "one target" if count == 1 else f"{count:,} targets"


def operations(name: str, clip: Clip, threads: int) -> tuple[float, float]:
    """What a target costs in a mean update of the clip, and what one context costs in trunk and head: see :class:`Work`."""
    model, recorders = record(load_model(name, threads, "float32"))
    tracker = Tracker(model)
    tracker.init(clip.frames[0], clip.box)
    for recorder in recorders.values():
        recorder.reset()  # init's calls belong to no frame
    for frame in clip.frames[1:]:
        tracker.update(frame)
    updates = sum(work(recorder).ops for recorder in recorders.values())
    whole = Tracker(model, settings={"near_size": SEARCH_SIZE})
    whole.init(clip.frames[0], clip.box)
    for recorder in recorders.values():
        recorder.reset()
    whole.respond(whole.contexts(Patches(clip.frames[1])))
    return updates / (len(clip.frames) - 1), sum(work(recorder).ops for recorder in recorders.values())


def card_peak(device: str = "cuda", side: int = PEAK_SIDE) -> tuple[str, float]:
    """The card's name, and the operations a second of its best product of two matrices in half precision."""
    import torch

    a, b = (torch.randn(side, side, device=device).half() for _ in range(2))

    def multiply() -> None:
        torch.mm(a, b)
        if device == "cuda":
            torch.cuda.synchronize()

    card = torch.cuda.get_device_name() if device == "cuda" else device
    return card, 2.0 * side**3 / best_seconds(multiply)
