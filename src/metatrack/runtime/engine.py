"""The name that the loader of models had before; it stays valid."""

from metatrack.runtime.load import load_model
from metatrack.runtime.model import Model

__all__ = ["Model", "load_model"]
