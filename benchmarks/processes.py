"""Fresh processes: what happens before the first frame, and the memory that a tracker needs, are only seen in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import metatrack

STATUS = Path("/proc/self/status")


def child(arguments: Sequence[str]) -> dict[str, Any]:
    """Runs Python with these arguments; the JSON object in the last line that it prints.

    Raises:
        RuntimeError: it fails.
    """
    # The same code as here, wherever it lies.
    places = [str(Path(__file__).resolve().parents[1]), str(Path(metatrack.__file__).resolve().parents[1])]
    path = os.pathsep.join([*places, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(  # noqa: S603 - our own modules
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
    )
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1])
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {}
    return answer


def resident() -> float:
    """Memory in use by this process now, in MiB; NaN where the system does not tell."""
    return _status("VmRSS")


def peak() -> float:
    """The most memory that this process ever used, in MiB; NaN where the system does not tell.

    Not ``getrusage``: on Linux that remembers the parent's size from before ``exec``.
    """
    return _status("VmHWM")


def _status(key: str) -> float:
    if not STATUS.is_file():
        return float("nan")
    lines = STATUS.read_text(encoding="utf-8").splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:")), float("nan"))
