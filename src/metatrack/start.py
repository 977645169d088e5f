"""Where the command begins. Ctrl-C is met from here on, also while modules are being imported, which takes most of the start."""

import sys


def main() -> int:
    """Runs the command line; returns the exit code."""
    try:
        from metatrack.cli import main as run

        return run()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
