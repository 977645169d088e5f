"""``python -m metatrack``."""

import sys

from metatrack.cli import main

sys.exit(main())
