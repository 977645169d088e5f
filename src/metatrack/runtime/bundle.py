"""A model bundle: a folder with ONNX graphs and a card that says what they are, where they come from, and their hashes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

CARD = "card.json"
GRAPHS = {
    "embed": "embed.onnx",
    "embed_int8": "embed-int8.onnx",
    "match": "match.onnx",
    "locate": "locate.onnx",
    "locate_int8": "locate-int8.onnx",
    "adapt": "adapt.onnx",
}

CARD_PARTS = ("architecture", "tracking", "calibration", "files")
"""Objects of a card that are used at run time; ``data``, ``training`` and the like are for people."""
ARCHITECTURE = ("channels", "template_cells", "search_cells", "response_cells", "stride", "support")
"""Of these, what :class:`metatrack.runtime.model.Model` reads off the architecture."""


class BundleError(ValueError):
    """A model bundle is missing, incomplete, damaged or of an unknown format."""


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose hashes have been checked."""

    folder: Path
    card: dict[str, Any]

    def graph(self, name: str) -> Path | None:
        """The file of a graph, one of :data:`GRAPHS`; None where the model has none, or none is ever so called."""
        file = GRAPHS.get(name)
        return self.folder / file if file is not None and file in self.card["files"] else None

    @property
    def float_layers(self) -> int:
        """Convolutions of the 8-bit trunk that stay in float32; cards made before they said so are told by their trunk."""
        architecture = self.card["architecture"]
        return int(architecture.get("float_layers", 0 if architecture.get("trunk") == "paper" else 1))


def sha256(path: Path) -> str:
    """Hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else hashlib.sha256(file.read()).hexdigest()
        )


def shipped_models() -> list[str]:
    """Names of the models inside the package."""
    folder = resources.files("metatrack") / "models"
    return sorted(entry.name for entry in folder.iterdir() if (entry / CARD).is_file()) if folder.is_dir() else []


def open_bundle(model: str | Path) -> Bundle:
    """Opens a shipped model by its name, or a bundle folder by its path, and checks the card and every hash.

    Raises:
        BundleError: there is no such model, its card lacks a key, a file is missing, or its content is not what the card says.
    """
    shipped = shipped_models()
    if isinstance(model, str) and model in shipped:
        folder = Path(str(resources.files("metatrack") / "models" / model))
    else:
        folder = Path(model)
        if not (folder / CARD).is_file():
            raise BundleError(f"no model {str(model)!r}: shipped are {', '.join(shipped) or 'none'}; a folder must hold {CARD}")
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        if card["format"] != 1:
            raise BundleError(f"{folder / CARD}: format {card['format']} is not known to this version; upgrade metatrack")
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise BundleError(f"{folder / CARD} is not a model card: {error!r}") from error
    if missing := _missing(card):
        raise BundleError(f"{folder / CARD} lacks {', '.join(missing)}; export the model again, or install the package again")
    for name, facts in card["files"].items():
        path = folder / name
        if name not in GRAPHS.values() or not path.is_file():
            raise BundleError(f"{path} is missing: the bundle is incomplete; install the package again")
        if sha256(path) != facts["sha256"]:
            raise BundleError(f"{path} is damaged or was changed: its SHA-256 is not the card's; install the package again")
    return Bundle(folder, card)


def _missing(card: dict[str, Any]) -> list[str]:
    """What a card must say and does not; a part that is no object counts as missing.

    >>> _missing({"name": "mine", "architecture": dict.fromkeys(ARCHITECTURE[1:]), "calibration": {}, "files": {"a.onnx": {}}})
    ['tracking', 'architecture.channels', 'files.a.onnx.sha256']
    """
    parts = {part: card[part] for part in CARD_PARTS if isinstance(card.get(part), dict)}
    missing = [*([] if "name" in card else ["name"]), *(part for part in CARD_PARTS if part not in parts)]
    if "architecture" in parts:
        missing += [f"architecture.{key}" for key in ARCHITECTURE if key not in parts["architecture"]]
    for file, facts in parts.get("files", {}).items():
        missing += [] if isinstance(facts, dict) and "sha256" in facts else [f"files.{file}.sha256"]
    return missing
