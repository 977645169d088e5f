"""A model bundle: a folder with ONNX graphs and a card that says what they are, where they come from, and their hashes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from metatrack.files import require_size
from metatrack.runtime.graph_file import MOST_BYTES, check_graph
from metatrack.typed import parse_json

CARD = "card.json"
GRAPHS = {
    "embed": "embed.onnx",
    "embed_int8": "embed-int8.onnx",
    "match": "match.onnx",
    "locate": "locate.onnx",
    "locate_int8": "locate-int8.onnx",
    "adapt": "adapt.onnx",
}
FORMAT = 1
MOST_CARD_BYTES = 16 << 20  # a longer card is none of ours
Cells = Annotated[int, Meta(ge=1, le=256)]
Finite = Annotated[float, Meta(ge=-1e6, le=1e6)]
OLD = ".old"
"""How the name of an older bundle ends while a new export takes its place: ``.NAME.RANDOM.old``, beside it."""


class BundleError(ValueError):
    """A model bundle is missing, incomplete, damaged or of an unknown format."""


@dataclass(frozen=True)
class Architecture:
    """Sizes that trackers and engines read off a card, see :class:`metatrack.runtime.model.Model`."""

    channels: Annotated[int, Meta(ge=1, le=4096)]
    template_cells: Cells
    search_cells: Cells
    response_cells: Cells
    stride: Annotated[int, Meta(ge=1, le=64)]
    support: Annotated[int, Meta(ge=0, le=64)]
    trunk: Annotated[str, Meta(max_length=100)] = ""
    kernels: Annotated[int, Meta(ge=1, le=4096)] | None = None
    target_kernels: Annotated[int, Meta(ge=0, le=1024)] = 0
    float_layers: Annotated[int, Meta(ge=0, le=10_000)] = 0

    def __post_init__(self) -> None:
        if self.search_cells != self.template_cells + self.response_cells - 1:
            raise ValueError(
                f"search_cells {self.search_cells} must be template_cells + response_cells - 1,"
                f" here {self.template_cells + self.response_cells - 1}"
            )


@dataclass(frozen=True)
class Calibration:
    """The logistic curve that makes scores of peaks; the rest is for people."""

    slope: Finite = 1.0
    offset: Finite = 0.0


@dataclass(frozen=True)
class FileFacts:
    """What a card says of a file."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    bytes: Annotated[int, Meta(ge=0)] | None = None


@dataclass(frozen=True)
class Card:
    """A card. ``data``, ``training``, ``description`` and the like are for people, and open."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    architecture: Architecture
    tracking: dict[str, Any]  # names and ranges are the trackers': metatrack.tracking.settings
    calibration: Calibration
    files: Annotated[dict[str, FileFacts], Meta(min_length=1, max_length=100)]


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk. Bundles are equal where folder and card are; the card holds the hashes of all files."""

    folder: Path
    digest: str  # SHA-256 of the card
    card: dict[str, Any] = field(compare=False)

    @property
    def shipped(self) -> bool:
        """Whether it came with the package."""
        return self.folder.parent == _shipped_folder().resolve()

    def graph(self, name: str) -> Path | None:
        """The file of a graph, one of :data:`GRAPHS`; None where the model has none, or none is ever so called."""
        file = GRAPHS.get(name)
        return self.folder / file if file is not None and file in self.card["files"] else None

    @property
    def has_int8(self) -> bool:
        """Whether its trunk or its box head has a version in 8 bits."""
        return any(self.graph(name) is not None for name in ("embed_int8", "locate_int8"))

    def content(self, name: str) -> bytes:
        """What is in the file of a graph that the model has: the bytes that were hashed, to be given to an engine.

        Raises:
            BundleError: the file is missing, is not what the card says, or is no graph of a tracker.
        """
        data = self._hashed(GRAPHS[name])
        try:
            check_graph(data)
        except ValueError as error:
            raise BundleError(f"{self.folder / GRAPHS[name]} cannot be used: {error}; export the model again") from error
        return data

    def check(self) -> None:
        """Compares every file with its hash; a :class:`BundleError` where one is missing, or is not what the card says."""
        for name in self.card["files"]:
            self._hashed(name)

    def _hashed(self, name: str) -> bytes:
        """What is in a file, once its hash is the card's."""
        path = self.folder / name
        data = _read(path, MOST_BYTES, "graph of a tracker")
        if hashlib.sha256(data).hexdigest() != self.card["files"][name]["sha256"]:
            raise BundleError(f"{path} is damaged or was changed: its SHA-256 is not the card's; install the package again")
        return data

    @property
    def float_layers(self) -> int:
        """Convolutions of the trunk that stay in float32 in 8 bits; cards that do not say so are told by their trunk."""
        architecture = self.card["architecture"]
        return int(architecture.get("float_layers", 0 if architecture.get("trunk") == "paper" else 1))


def _read(path: Path, most: int, what: str) -> bytes:
    try:
        require_size(path, most, what)
        return path.read_bytes()
    except OSError as error:
        remedy = "install the package again, or export the model again"
        raise BundleError(f"{path} cannot be read: {error.strerror or error}; {remedy}") from error
    except ValueError as error:
        raise BundleError(str(error)) from error


def sha256(path: Path) -> str:
    """Hash of a file, in hexadecimal."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):  # a file may be larger than memory
            found.update(block)
    return found.hexdigest()


def file_facts(path: Path) -> dict[str, Any]:
    """What a card says of a file."""
    return {"sha256": sha256(path), "bytes": path.stat().st_size}


def _shipped_folder() -> Path:
    return Path(str(resources.files("metatrack") / "models"))


def shipped_models() -> list[str]:
    """Names of the models inside the package."""
    folder = _shipped_folder()
    return sorted(entry.name for entry in folder.iterdir() if (entry / CARD).is_file()) if folder.is_dir() else []


def open_bundle(model: str | Path) -> Bundle:
    """Opens a shipped model by its name, or a bundle folder by its path, and checks the card and every hash.

    Raises:
        BundleError: there is no such model, its card lacks a key or has a wrong value, a file is missing, or its content is not
            what the card says.
    """
    bundle = read_card(model)
    bundle.check()
    return bundle


def read_card(model: str | Path) -> Bundle:
    """As :func:`open_bundle`, without the hashes: whoever loads a graph takes :meth:`Bundle.content`, which compares them.

    Raises:
        BundleError: there is no such model, its card lacks a key or has a wrong value, or a file is missing.
    """
    shipped = shipped_models()
    if isinstance(model, str) and model in shipped:
        folder = _shipped_folder() / model
    else:
        folder = Path(model)
        if not is_file(folder / CARD):
            aside = set_aside(folder)
            if aside:
                raise BundleError(f"{folder}: an export into it was interrupted; rename {aside[-1]} to it, or export again")
            raise BundleError(f"no model {str(model)!r}: shipped are {', '.join(shipped) or 'none'}; a folder must hold {CARD}")
    path = folder / CARD
    data = _read(path, MOST_CARD_BYTES, "model card")
    try:
        card = parse_card(data, str(path))
    except ValueError as error:
        raise BundleError(f"{error}; export the model again, or install the package again") from error
    for name in card["files"]:
        if name not in GRAPHS.values() or not is_file(folder / name):
            raise BundleError(f"{folder / name} is missing: the bundle is incomplete; install the package again")
    return Bundle(folder.resolve(), hashlib.sha256(data).hexdigest(), card)


def parse_card(data: bytes, name: str) -> dict[str, Any]:
    """A card as the objects of its JSON, once all of :class:`Card` has been checked.

    Raises:
        ValueError: it is no card of this format; the message names what is wrong where.
    """
    card = parse_json(data, dict[str, Any], name)
    version = card.get("format")
    if type(version) is not int:  # True counts as 1 elsewhere
        raise ValueError(f"{name} is not a model card: its format must be {FORMAT}")
    if version != FORMAT:
        raise ValueError(f"{name}: format {version} is not known to this version; upgrade metatrack")
    parse_json(data, Card, name, open_keys=True)
    return card


def is_file(path: Path) -> bool:
    """Whether a file is there; False of what can be no path."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def set_aside(folder: Path) -> list[Path]:
    """Complete older bundles that an interrupted export left beside a folder, the newest last."""
    try:
        beside = [each for each in folder.parent.iterdir() if each.name.startswith(f".{folder.name}.") and each.suffix == OLD]
        return sorted((each for each in beside if (each / CARD).is_file()), key=lambda each: each.stat().st_mtime)
    except (OSError, ValueError):
        return []
