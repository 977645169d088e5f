"""The command: ``python benchmarks/run.py --help``."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # started as a file: Python then looks for modules beside it, not beside the folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.command import main  # noqa: E402 - found only now

if __name__ == "__main__":
    sys.exit(main())
