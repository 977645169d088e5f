"""The name that the export of bundles had before; it stays valid for scripts. A training itself knows nothing of it."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    return getattr(import_module("metatrack.bundling.export"), name)
