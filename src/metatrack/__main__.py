"""``python -m metatrack``."""

import sys

from metatrack.start import main

sys.exit(main())
