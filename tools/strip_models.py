"""Removes from the shipped graphs what their exporter noted about the machine that made them, and says by how much they shrank.

python -m tools.strip_models
"""

from __future__ import annotations

from pathlib import Path

from metatrack.bundling.strip import strip_bundle
from metatrack.runtime.bundle import CARD

MODELS = Path(__file__).parents[1] / "src" / "metatrack" / "models"

if __name__ == "__main__":
    for card in sorted(MODELS.glob(f"*/{CARD}")):
        print(f"{card.parent.name}: {strip_bundle(card.parent)} bytes less")
