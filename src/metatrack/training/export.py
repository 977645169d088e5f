"""The name that the export of bundles had before; it stays valid for scripts. A training itself knows nothing of it."""

import sys
from importlib import import_module

sys.modules[__name__] = import_module("metatrack.bundling.export")
