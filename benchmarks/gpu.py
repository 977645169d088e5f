"""The networks on a GPU, with onnxruntime's CUDA provider, beside the same on the CPU; the rest stays where it is."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from benchmarks.clip import read_clip
from benchmarks.fps import WARM, follow, in_turn
from benchmarks.options import Options
from benchmarks.page import Section, Table, median, number, spread
from benchmarks.targets import boxes, follow_together
from metatrack.runtime.bundle import open_bundle
from metatrack.runtime.engine import Model
from metatrack.tracking.tracker import Tracker

TITLE = "GPU"
PROVIDER = "CUDAExecutionProvider"
TARGETS = 16


class GpuModel(Model):
    """A model whose graphs run on the GPU; its answers are equal within rounding.

    Raises:
        RuntimeError: a graph would run on the CPU instead, as onnxruntime does without a word where CUDA cannot be used.
    """

    def __init__(self, folder: str, threads: int) -> None:
        super().__init__(open_bundle(folder), threads)
        for name, session in list(vars(self).items()):
            if isinstance(session, ort.InferenceSession):
                moved = ort.InferenceSession(session._model_path, providers=[PROVIDER, "CPUExecutionProvider"])
                if PROVIDER not in moved.get_providers():
                    raise RuntimeError("onnxruntime has the CUDA provider but cannot use it: no GPU, no driver or no cuDNN")
                setattr(self, name, moved)


def measure(options: Options) -> Section:
    """The first model, one target and several."""
    if PROVIDER not in ort.get_available_providers():
        has = ", ".join(ort.get_available_providers())
        return Section(
            TITLE,
            [
                f"Not measured: the onnxruntime {ort.__version__} installed here has no {PROVIDER} (it has {has}). On a machine"
                " with a GPU: `pip uninstall onnxruntime`, `pip install onnxruntime-gpu`, and this command again with"
                " `--only gpu`."
            ],
        )
    name, clip = options.model_names[0], read_clip(options.frames)
    try:
        models = {"CPU": Model(open_bundle(name), options.thread_count), "GPU": GpuModel(name, options.thread_count)}
    except RuntimeError as error:
        return Section(TITLE, [f"Not measured: {error}"])
    one: dict[str, list[float]] = {place: [] for place in models}
    many: dict[str, list[float]] = {place: [] for place in models}
    targets, frames = boxes(clip, TARGETS), min(len(clip.frames), max(2, 1 + options.target_frames // TARGETS))
    for n in range(-1, options.rounds):  # the first choose their algorithms, which takes seconds
        for place, model in in_turn(list(models.items()), max(n, 0)):
            rate = follow(Tracker(model), clip, len(clip.frames) if n >= 0 else WARM).rate
            seconds, _ = follow_together(model, clip, targets, frames)
            if n >= 0:
                one[place].append(rate)
                many[place].append(TARGETS * (frames - 1) / seconds)
    rows = [
        (
            f"{what}, {place}",
            number(median(rates[place])),
            spread(rates[place]),
            number(median([rate / other for rate, other in zip(rates[place], rates["CPU"])])),
        )
        for what, rates in (("one target", one), (f"{TARGETS} targets", many))
        for place in models
    ]
    columns = ("what", "targets times frames a second", "quartiles", "against the CPU")
    return Section(TITLE, [f"{Path(name).name}; crops and everything but the graphs stay on the CPU.", Table(columns, rows)])
