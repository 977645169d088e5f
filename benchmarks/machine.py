"""The machine, what runs on it besides, and the state of the code."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from benchmarks.options import Options
from benchmarks.page import Section, Table, percent
from metatrack import __version__
from metatrack.runtime.processor import instructions, processor, usable_cores

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("numpy", "onnxruntime", "onnxruntime-gpu", "opencv-contrib-python-headless", "av", "torch")
CPU = Path("/sys/devices/system/cpu/cpu0")


class Activity(NamedTuple):
    """How busy the machine is: everything, and what the host took from a virtual machine."""

    load: float
    steal: float
    total: float

    @classmethod
    def read(cls) -> Activity:
        """The state now; zeros where the system does not tell."""
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        ticks = [float(word) for word in _read("/proc/stat").partition("\n")[0].split()[1:]]
        return cls(load, ticks[7] if len(ticks) > 7 else 0.0, sum(ticks[:8]))

    def stolen_until(self, later: Activity) -> float:
        """The share of the time between two readings that the host gave to others."""
        return (later.steal - self.steal) / max(later.total - self.total, 1.0)


def describe(options: Options, before: Activity, after: Activity) -> Section:
    """The table on top of the page."""
    cores, usable = os.cpu_count() or 1, usable_cores()
    packages = [f"{name} {found}" for name in PACKAGES if (found := installed(name))]
    rows = [
        ("processor", processor()),
        ("cores", f"{usable} of {cores} usable; {options.thread_count} threads for every engine"),
        ("instructions", ", ".join(sorted(instructions())) or "unknown"),
        ("caches of a core", caches() or "unknown"),
        ("memory", memory()),
        ("governor", _read(CPU / "cpufreq/scaling_governor").strip() or "not told (a virtual machine, for example)"),
        ("load", f"{before.load:.2f} before, {after.load:.2f} after the run, its own included"),
        ("taken by the host", percent(before.stolen_until(after))),
        ("system", f"{platform.system()} {platform.release()}, Python {platform.python_version()}"),
        ("packages", ", ".join([f"metatrack {__version__}", *packages])),
        ("frames, rounds", f"{options.frames}, {options.rounds}"),
    ]
    busy = ["**Busy**: other programs were at work when this began; an idle machine is faster, and its ratios are others."]
    return Section("Machine", [Table(("what", "value"), rows), *(busy if before.load > 0.5 else [])])


def installed(package: str) -> str:
    """The version of an installed package; nothing if it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def caches() -> str:
    """Levels and sizes of the caches that a core sees, without that of its instructions."""
    found = []
    for folder in sorted((CPU / "cache").glob("index*")):
        level, kind, size = (_read(folder / name).strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            found.append(f"L{level} {size}")
    return ", ".join(found)


def memory() -> str:
    """The machine's memory."""
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemTotal"):
            return f"{int(line.split()[1]) / 2**20:.1f} GiB"
    return "unknown"


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
