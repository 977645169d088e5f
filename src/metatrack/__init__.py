"""Track any object through video.

The public API is the names in ``__all__``. Each is imported when it is first used, so that ``import metatrack`` costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # not typing's: importing that takes a third of this module's time, and Ctrl-C is not met before start.py
if TYPE_CHECKING:
    from typing import Any

    from metatrack.geometry import Box as Box
    from metatrack.runtime.bundle import BundleError as BundleError
    from metatrack.runtime.bundle import shipped_models as shipped_models
    from metatrack.runtime.load import load_model as load_model
    from metatrack.runtime.model import Model as Model
    from metatrack.tracking.multi import MultiTracker as MultiTracker
    from metatrack.tracking.settings import TrackerSettings as TrackerSettings
    from metatrack.tracking.tracker import Result as Result
    from metatrack.tracking.tracker import Tracker as Tracker
    from metatrack.video import BoxWriter as BoxWriter
    from metatrack.video import DamagedSourceError as DamagedSourceError
    from metatrack.video import SourceError as SourceError
    from metatrack.video import VideoWriter as VideoWriter
    from metatrack.video import draw as draw
    from metatrack.video import open_source as open_source

__version__ = "0.1.0"

_HOMES = {
    "geometry": ("Box",),
    "runtime.bundle": ("BundleError", "shipped_models"),
    "runtime.load": ("load_model",),
    "runtime.model": ("Model",),
    "tracking.multi": ("MultiTracker",),
    "tracking.settings": ("TrackerSettings",),
    "tracking.tracker": ("Result", "Tracker"),
    "video": ("BoxWriter", "DamagedSourceError", "SourceError", "VideoWriter", "draw", "open_source"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'metatrack' has no attribute {name!r}; it has {', '.join(__all__)}")
    from importlib import import_module

    return getattr(import_module(f"metatrack.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
