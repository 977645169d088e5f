"""Limits that a process sets itself before it reads what cannot be trusted: memory, processor's time, files."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def limit(name: str, value: int) -> None:
    """Sets a limit of the system's, ``RLIMIT_AS`` say, where it has it; Windows has none, and macOS may not keep all."""
    try:
        import resource
    except ImportError:  # Windows
        return
    kind = getattr(resource, name, None)
    if kind is None:
        return
    hard = resource.getrlimit(kind)[1]
    with suppress(ValueError, OSError):
        resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def seconds_used() -> int:
    """Of the processor's time, by this process so far, rounded up."""
    used = os.times()
    return int(used.user + used.system) + 1


def address_space() -> int:
    """What the process has already, in bytes."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return 1 << 30
