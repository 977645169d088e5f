"""The trackers that are compared. Nothing heavy is imported before one is made: the time to do so is measured, too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.options import Options
    from metatrack.evaluation.run.runner import TrackerLike

REFERENCES = ("csrt", "nano")
"""What ratios are taken against: they travel from one processor to another better than frames a second do."""


@dataclass(frozen=True)
class Contender:
    """A tracker as words, so that it can be named to another process."""

    name: str
    kind: str
    """One of :data:`MAKERS`."""
    argument: str = ""
    adapt: bool = False
    note: str = ""
    """What a reader has to know of it."""

    def make(self, threads: int) -> TrackerLike:
        """A new tracker with so many threads.

        Raises:
            ValueError, ImportError: something that it needs is not there.
        """
        tracker: TrackerLike = MAKERS[self.kind](self, threads)
        return tracker


def contenders(options: Options) -> list[Contender]:
    """Ours, with and without adaptation, and the peers; those that cannot be made here are among them, and say why."""
    from metatrack.runtime.bundle import open_bundle

    ours: list[Contender] = []
    plain = ""
    for name in options.model_names:
        bundle, short = open_bundle(name), Path(name).name
        adapts = bundle.graph("adapt") is not None
        ours.append(Contender(short, "ours", name, adapts))
        if adapts:
            ours.append(Contender(f"{short}, no adaptation", "ours", name))
        if bundle.has_int8:
            ours.append(Contender(f"{short}, float32", "ours-float32", name, adapts))
        ours.append(Contender(f"{short}, OpenVINO", "ours-openvino", name, adapts))
        plain = plain or (name if bundle.graph("match") is not None else "")
    weights = "" if options.siamfc is not None else "untrained: time only"
    return [
        *ours,
        *([Contender("siamfc", "siamfc", plain, note=f"{Path(plain).name}'s network")] if plain else []),
        Contender("siamfc, torch", "siamfc-torch", str(options.siamfc or ""), note=weights),
        *(Contender(name, "opencv", kind) for name, kind in (("csrt", "CSRT"), ("mil", "MIL"), ("mosse", "MOSSE"))),
        Contender("kcf, OpenCV's", "opencv-kcf"),
        Contender("kcf, ours", "kcf"),
        Contender("nano", "nano", str(options.nano or "")),
        Contender("vit", "vit", str(options.vit or "")),
    ]


def reason(error: Exception) -> str:
    """Why a contender does not run, in one line of a table."""
    missing = isinstance(error, ModuleNotFoundError)
    return f"not run: {error.name} is not installed" if missing else f"not run: {str(error).strip().splitlines()[0]}"  # type: ignore[attr-defined]


def _ours(contender: Contender, threads: int, precision: Any = "auto", engine: Any = "onnxruntime") -> Any:
    from metatrack.runtime.load import load_model
    from metatrack.tracking.tracker import Tracker

    return Tracker(load_model(contender.argument, threads, precision, engine), contender.adapt)


def _siamfc(contender: Contender, threads: int) -> Any:
    from metatrack.compared.siamfc import SETTINGS
    from metatrack.tracking.tracker import Tracker

    return Tracker(contender.argument, adapt=False, settings=SETTINGS, threads=threads)


def _siamfc_torch(contender: Contender, threads: int) -> Any:
    """The same tracker, whose network torch runs, in float32 as onnxruntime does."""
    import torch

    from metatrack.compared.siamfc import SETTINGS
    from metatrack.model.matching import MatchingNetwork
    from metatrack.tracking.tracker import Tracker
    from metatrack.training.precision import choose_precision
    from metatrack.training.validation import model_of
    from metatrack.training.weights import channels_last, load_matching

    torch.set_num_threads(threads)
    network = load_matching(Path(contender.argument)) if contender.argument else MatchingNetwork().eval()
    model = model_of(channels_last(network), None, choose_precision("float32"), boxes=False)
    return Tracker(model, adapt=False, settings=SETTINGS)


def _opencv(contender: Contender, threads: int) -> Any:
    import cv2

    from metatrack.compared import opencv

    cv2.setNumThreads(threads)
    return getattr(opencv, contender.argument)()


def _opencv_kcf(contender: Contender, threads: int) -> Any:
    import cv2

    from metatrack.compared.opencv import OpenCVFollower

    class KCF(OpenCVFollower):
        origin = "TrackerKCF"

    cv2.setNumThreads(threads)
    return KCF()


def _kcf(contender: Contender, threads: int) -> Any:
    from metatrack.compared.kcf import KCF

    return KCF()


def _nano(contender: Contender, threads: int) -> Any:
    import cv2

    from metatrack.compared.opencv import Nano

    if not contender.argument:
        raise ValueError(f"give the folder of {' and '.join(Nano.files.values())} with --nano")
    cv2.setNumThreads(threads)
    return Nano(contender.argument)


def _vit(contender: Contender, threads: int) -> Any:
    import cv2

    from metatrack.compared.opencv import Vit

    if not contender.argument:
        raise ValueError(f"give {' and '.join(Vit.files.values())} with --vit")
    path = Path(contender.argument)

    class Named(Vit):
        files = Vit.files if path.is_dir() else {"net": path.name}

    cv2.setNumThreads(threads)
    return Named(path if path.is_dir() else path.parent)


MAKERS: dict[str, Callable[[Contender, int], Any]] = {
    "ours": _ours,
    "ours-float32": partial(_ours, precision="float32"),
    "ours-openvino": partial(_ours, engine="openvino"),
    "siamfc": _siamfc,
    "siamfc-torch": _siamfc_torch,
    "opencv": _opencv,
    "opencv-kcf": _opencv_kcf,
    "kcf": _kcf,
    "nano": _nano,
    "vit": _vit,
}
