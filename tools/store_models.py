"""Stores the large matrices of the shipped meta-learners in 8 bits, as the export does, and writes the cards' new hashes.

python -m tools.store_models
"""

from __future__ import annotations

import json
from pathlib import Path

import onnx

from metatrack.bundling.storage import store_bytes
from metatrack.bundling.strip import strip
from metatrack.files import write_atomically
from metatrack.runtime.bundle import CARD, GRAPHS, sha256

MODELS = Path(__file__).parents[1] / "src" / "metatrack" / "models"


def store(folder: Path) -> int:
    """One bundle; returns by how many bytes its graph of the meta-learner has shrunk."""
    path, file = folder / CARD, folder / GRAPHS["adapt"]
    if not file.is_file():
        return 0
    before, model = file.stat().st_size, onnx.load(file)
    store_bytes(model)
    strip(model)
    onnx.checker.check_model(model)
    write_atomically(file, model.SerializeToString())
    card = json.loads(path.read_text(encoding="utf-8"))
    card["files"][file.name] |= {"sha256": sha256(file), "bytes": file.stat().st_size}
    write_atomically(path, json.dumps(card, indent=2) + "\n")
    return before - file.stat().st_size


if __name__ == "__main__":
    for card in sorted(MODELS.glob(f"*/{CARD}")):
        print(f"{card.parent.name}: {store(card.parent)} bytes less")
