"""The name that :mod:`metatrack.bundling.export` had before; it stays valid."""

import sys
from importlib import import_module

sys.modules[__name__] = import_module("metatrack.bundling.export")
