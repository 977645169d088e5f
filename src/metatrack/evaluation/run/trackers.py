"""Trackers by name, for evaluations: ours, those that ours is compared with, and everybody else's."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from metatrack import __version__
from metatrack.compared.siamfc import SETTINGS as SIAMFC_SETTINGS
from metatrack.evaluation.run.runner import TrackerLike
from metatrack.hints import hint
from metatrack.tracking.settings import TrackerSettings


@dataclass(frozen=True)
class Ours:
    """A configuration of this project's tracker."""

    model: str  # a shipped model, or the folder of a bundle
    adapt: bool
    help: str
    settings: TrackerSettings | dict[str, Any] | None = None  # None: the card's; a dictionary changes single ones

    def make(self) -> TrackerLike:
        from metatrack.tracking.tracker import Tracker as MetaTracker

        return MetaTracker(self.model, adapt=self.adapt, settings=self.settings, threads=1)

    def identity(self) -> dict[str, Any]:
        """The hashes of its weights, and its settings."""
        from metatrack.runtime.bundle import open_bundle, shipped_models

        card = open_bundle(self.model).card
        return {
            "metatrack": __version__,
            "model": self.model if self.model in shipped_models() else Path(self.model).name,
            "adapt": self.adapt,
            "sha256": {file: facts["sha256"] for file, facts in sorted(card["files"].items())},
            "tracking": self.settings.flat()
            if isinstance(self.settings, TrackerSettings)
            else card.get("tracking", {}) | (self.settings or {}),
        }


@dataclass(frozen=True)
class Compared:
    """A tracker of ``metatrack.compared``."""

    factory: str  # ``module:class`` there
    help: str
    takes_folder: bool = False  # it needs files of a network, whose folder stands after its name and a colon
    folder: str | None = None  # that folder, once it is known

    def make(self) -> TrackerLike:
        return self._factory()(*self._arguments())

    def identity(self) -> dict[str, Any]:
        """Version of this package, and what the class itself tells (OpenCV's version where it uses that, hashes of files)."""
        factory = self._factory()
        own: dict[str, Any] = factory.identity(*self._arguments()) if hasattr(factory, "identity") else {}
        return {"metatrack": __version__, "factory": self.factory, **own}

    def _factory(self) -> Callable[..., TrackerLike]:
        return load_factory(f"metatrack.compared.{self.factory}")

    def _arguments(self) -> tuple[str, ...]:
        return () if self.folder is None else (self.folder,)


@dataclass(frozen=True)
class Program:
    """A tracker in a process of its own, described by a JSON file."""

    file: Path

    def make(self) -> TrackerLike:
        """A new one; its process starts with the first frame."""
        from metatrack.compared.process import ProcessTracker, read_settings

        return ProcessTracker(read_settings(self.file), self.file.parent)

    def identity(self) -> dict[str, Any]:
        """What the file says, without the time-out, which decides no box; of the environment, which may hold keys, a hash."""
        from metatrack.compared.process import find_program, read_settings

        settings = read_settings(self.file)
        find_program(settings, self.file.parent)
        facts = {key: value for key, value in asdict(settings).items() if key not in ("timeout_s", "env")}
        environment = json.dumps(settings.env, sort_keys=True).encode()
        return {"program": {**facts, "env": hashlib.sha256(environment).hexdigest()}}


@dataclass(frozen=True)
class Factory:
    """A tracker of whoever calls."""

    spec: str  # ``package.module:factory``

    def make(self) -> TrackerLike:
        return load_factory(self.spec)()

    def identity(self) -> dict[str, Any]:
        """Its name: more cannot be known."""
        load_factory(self.spec)
        return {"factory": self.spec}


Kind: TypeAlias = Ours | Compared | Program | Factory
NAMED: dict[str, Ours | Compared] = {
    "mlt": Ours("lite", True, "our tracker, default model"),
    "mlt-paper": Ours("paper", True, "our tracker, the paper's five layers"),
    "mlt-as-printed": Ours("paper", True, "the paper's tracker as printed", TrackerSettings.preset("paper.v1")),
    "mlt-as-printed-no-adapt": Ours(
        *("paper", False, "the paper's tracker as printed, the meta-learner switched off", TrackerSettings.preset("paper.v1"))
    ),
    "mlt-as-printed-no-meta": Ours(
        *("paper-no-meta", False, "the paper's ablation as printed: 128 plain kernels", TrackerSettings.preset("paper.v1"))
    ),
    "mlt-no-adapt": Ours("lite", False, "our tracker, default model, the meta-learner switched off"),
    "mlt-no-meta": Ours("lite-no-meta", False, "the paper's ablation: trained with 128 plain kernels and no meta-learner"),
    "siamfc": Ours("lite-no-meta", False, "our network, tracking as SiamFC does", SIAMFC_SETTINGS),
    "csk": Compared("csk:CSK", "correlation filter with a kernel, on grey pixels (2012)"),
    "kcf": Compared("kcf:KCF", "correlation filter with a kernel, on oriented gradients (2015)"),
    "dsst": Compared("dsst:DSST", "correlation filters for place and scale (2014)"),
    "srdcf": Compared("srdcf:SRDCF", "correlation filter with a spatial penalty, on oriented gradients (2015)"),
    "meem": Compared("meem:MEEM", "support vector machines of several times (2014)"),
    "tld": Compared("tld:TLD", "tracking, learning, detection (2012)"),
    "deepsrdcf-lite0": Compared("deepsrdcf:DeepSRDCF", "SRDCF on EfficientNet-Lite0 (2015; the authors' on VGG-M)"),
    "ccot-lite0": Compared("deepccot:DeepCCOT", "continuous filter on EfficientNet-Lite0 (2016; the authors' on VGG-M)"),
    "ccot-hog": Compared("ccot:CCOT", "continuous filter, on oriented gradients (2016)"),
    "cnn-svm-lite0": Compared("cnnsvm:CNNSVM", "CNN-SVM on EfficientNet-Lite0 (2015; the authors' on AlexNet)"),
    "svm-lite0": Compared("cnnsvm:SVMOnly", "CNN-SVM's first stage by itself, without saliency, on EfficientNet-Lite0"),
    "hdt-vgg16": Compared("hdt:HDT", "hedged correlation filters on VGG-16 (2016; the authors' on VGG-19); extra 'vgg'"),
    "csrt": Compared("opencv:CSRT", "OpenCV's correlation filter with a mask (2017)"),
    "opencv-tld": Compared("opencv:OpenCVTLD", "OpenCV's tracking, learning, detection (2012)"),
    "mil": Compared("opencv:MIL", "OpenCV's multiple-instance learning (2009)"),
    "mosse": Compared("opencv:MOSSE", "OpenCV's first correlation filter (2010)"),
    "medianflow": Compared("opencv:MedianFlow", "OpenCV's optical flow there and back (2010)"),
    "nano": Compared("opencv:Nano", "OpenCV's NanoTrack; nano:FOLDER, which holds its files", takes_folder=True),
    "vit": Compared("opencv:Vit", "OpenCV's VitTrack; vit:FOLDER, which holds its file", takes_folder=True),
}
NO_SETTINGS: Mapping[str, Any] = {}
FORMS = "package.module:factory, a bundle's folder, or a JSON file that says how to start a program"


def trackers_help() -> str:
    """What ``--trackers`` takes, for people."""
    ours = [name for name in NAMED if name.startswith("mlt")]
    others = [f"{name}:FOLDER" if isinstance(each, Compared) and each.takes_folder else name for name, each in NAMED.items()]
    return (
        f"Ours: {', '.join(ours)}. To compare with: {', '.join(name for name in others if name not in ours)} (the folder of their"
        " files). Your own: package.module:factory, or path/of/tracker.json, which says how to start a program, or the folder of"
        " a bundle, for our tracker with that model. Each may be renamed: name=..."
    )


@dataclass(frozen=True)
class TrackerSpec:
    """A tracker by name, cheap to send to another process.

    Networks run with one thread, as does OpenCV in the processes of an evaluation: then the boxes do not depend on how many
    cores a machine has, and processes do not get into each other's way.
    """

    name: str  # name in tables and folders
    origin: str
    """One of :data:`NAMED` (with ``:FOLDER`` where files are needed), ``package.module:factory``, or path of a JSON file or of a
    bundle's folder."""
    settings: tuple[tuple[str, Any], ...] = field(default=(), repr=False)  # settings that differ from its own, where it is ours

    def make(self) -> TrackerLike:
        """A new tracker, or whatever its factory raises. If it has a method ``close``, that is to be called in the end."""
        return self.resolve().make()

    def identity(self) -> dict[str, Any]:
        """What decides its boxes, as far as it can be known from here; a result of another identity must not be mixed in.

        Raises:
            ValueError: the factory, the shipped model, the program or a file of a network does not exist, or is damaged; or the
                installed OpenCV has no such tracker.
            ImportError: the factory's module cannot be imported.
            OSError: the JSON file cannot be read.
        """
        return self.resolve().identity()

    def resolve(self) -> Kind:
        """What it is, with its settings."""
        kind = _kind(self.origin)[0] or Factory(self.origin)
        if not isinstance(kind, Ours) or not self.settings:
            return kind
        own, chosen = kind.settings, dict(self.settings)
        return replace(kind, settings=replace(own, **chosen) if isinstance(own, TrackerSettings) else chosen)


def tracker_spec(text: str) -> TrackerSpec:
    """``mlt``, ``nano:FOLDER``, a bundle's folder, ``package.module:factory`` or ``path/of/tracker.json``, also as ``name=...``.

    >>> tracker_spec("mine=my.trackers:make_fast")
    TrackerSpec(name='mine', origin='my.trackers:make_fast')
    >>> tracker_spec("programs/theirs.json")
    TrackerSpec(name='theirs', origin='programs/theirs.json')

    Raises:
        ValueError: there is no such tracker (the nearest is suggested), or the name cannot be that of a folder.
    """
    name, equals, origin = text.strip().partition("=")
    if not equals or ":" in name or _is_bundle(text.strip()):  # nano:/a=b
        origin, equals = text.strip(), ""
    kind, own = _kind(origin)
    if isinstance(kind, Compared) and kind.takes_folder and not kind.folder:
        raise ValueError(f"{own} needs the folder of its network's files: {own}:FOLDER")
    if kind is None:
        if Path(origin).is_dir():
            raise ValueError(f"{origin} is a folder but no bundle, which holds card.json; pass what metatrack export wrote")
        raise ValueError(f"no tracker {origin!r}; {hint(origin, NAMED)} (your own: {FORMS})")
    name = name if equals else own
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", name):
        raise ValueError(f"{name!r} cannot be the name of a tracker; use letters, digits and _ . + -, as in name={origin}")
    return TrackerSpec(name, origin)


def _kind(origin: str) -> tuple[Kind | None, str]:
    """What an origin means, None where there is no such tracker; and its name, where none is given."""
    head, colon, folder = origin.partition(":")
    named = NAMED.get(head)
    if isinstance(named, Compared) and named.takes_folder:
        return replace(named, folder=folder or None), head
    if named is not None and not colon:
        return named, head
    if _is_bundle(origin):
        return Ours(origin, True, "our tracker with another model"), Path(origin).resolve().name
    if origin.lower().endswith(".json"):
        return Program(Path(origin)), Path(origin).stem
    return (Factory(origin) if colon else None), origin.rpartition(":")[2]


def _is_bundle(origin: str) -> bool:
    return origin not in NAMED and (Path(origin) / "card.json").is_file()


def tracker_specs(texts: list[str], settings: Mapping[str, Any] = NO_SETTINGS) -> list[TrackerSpec]:
    """As :func:`tracker_spec`, of several; ``settings`` are for those that are ours.

    Raises:
        ValueError: there is none, or two have the same name; or there are settings and none is ours.
    """
    specs = [tracker_spec(text) for text in texts if text.strip()]
    if settings:
        ours = [isinstance(spec.resolve(), Ours) for spec in specs]
        if specs and not any(ours):
            raise ValueError(f"--set is for our tracker, and {', '.join(spec.name for spec in specs)} is not; known are mlt, ...")
        chosen = tuple(settings.items())
        specs = [replace(spec, settings=chosen) if own else spec for spec, own in zip(specs, ours, strict=True)]
    names = [spec.name for spec in specs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not specs or twice:
        what = f"two trackers are named {twice[0]!r}; name one, as in other=module:factory" if twice else "name a tracker"
        raise ValueError(f"{what} (known are {', '.join(NAMED)})")
    return specs


def load_factory(spec: str) -> Callable[..., TrackerLike]:
    """``package.module:name`` to that callable.

    Raises:
        ValueError: the text has another form or the module lacks the name.
        ImportError: the module cannot be imported.
    """
    module, _, name = spec.partition(":")
    if not module or not name:
        raise ValueError(f"{spec!r} does not name a factory; give package.module:callable")
    factory = getattr(importlib.import_module(module), name, None)
    if not callable(factory):
        raise ValueError(f"module {module} holds no callable {name!r}")
    made: Callable[..., TrackerLike] = factory
    return made
