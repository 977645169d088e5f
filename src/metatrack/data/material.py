"""Fetches the material of synthetic and rendered clips: packages of Debian's archive, unpacked without installation.

Licences differ by picture and are stated in each package's ``usr/share/doc/<package>/copyright``, which is unpacked with it.
"""

from __future__ import annotations

import shutil
import subprocess  # noqa: S404 - apt-get and dpkg are programs; no shell is involved
import tempfile
from pathlib import Path
from typing import NamedTuple

from metatrack.claims import alone
from metatrack.files import take_place

PACKAGES = (
    "tuxpaint-stamps-default",
    "gnome-backgrounds",
    "plasma-workspace-wallpapers",
    "mate-backgrounds",
    "ukui-wallpapers",
)
OBJECTS = Path("usr/share/tuxpaint/stamps")
BACKGROUNDS = (Path("usr/share/backgrounds"), Path("usr/share/wallpapers"))
MODELS_PACKAGE = "sweethome3d-furniture"
MODELS = Path("usr/share/sweethome3d/furniture")
REMEDY = (
    "the synthetic composer takes any folder of images with transparency and any folder of photographs: name your own, or unpack "
    f"the packages {', '.join(PACKAGES)} by hand (packages.debian.org; a .deb is an ar archive that holds data.tar)"
)


class Material(NamedTuple):
    """Folders for :class:`metatrack.data.synth.Composer`, and of 3D models for :func:`metatrack.data.render.pack`."""

    objects: Path
    backgrounds: tuple[Path, ...]
    models: Path | None = None


def fetch_material(out: Path, *, models: bool = False) -> Material:
    """Downloads and unpacks the packages below ``out``; packages that are there already are not fetched again.

    Needs Debian or a descendant and its package lists (``apt-get update``), about 500 MB of disk, no root.

    Raises:
        RuntimeError: apt-get or dpkg is missing or fails; the message says what to do instead.
        OSError: ``out`` cannot be written.
    """
    out = Path(out).absolute()  # dpkg runs in another folder
    out.mkdir(parents=True, exist_ok=True)
    with alone(out / ".lock", out):
        for package in (*PACKAGES, *([MODELS_PACKAGE] if models else [])):
            # A package's own documentation is its mark of completion: it is moved here last (see _unpack).
            if not (out / "usr/share/doc" / package).is_dir():
                _unpack(package, out)
    material = Material(out / OBJECTS, tuple(out / path for path in BACKGROUNDS), out / MODELS if models else None)
    for folder in (material.objects, *material.backgrounds, *([out / MODELS] if models else [])):
        if not folder.is_dir():
            raise RuntimeError(f"{folder} is not in the packages that were fetched: their layout has changed; {REMEDY}")
    return material


def _unpack(package: str, out: Path) -> None:
    """Fetches one package; its files are moved below ``out`` one by one, the documentation last."""
    with tempfile.TemporaryDirectory(prefix=f".{package}.", dir=out) as name:
        work = Path(name)
        _run("apt-get", "download", package, folder=work, package=package)
        archives = list(work.glob("*.deb"))
        if len(archives) != 1:
            raise RuntimeError(f"apt-get download {package} left {len(archives)} packages where one was expected; {REMEDY}")
        tree = work / "tree"
        _run("dpkg", "-x", str(archives[0]), str(tree), folder=work, package=package)
        documents = Path("usr/share/doc")
        files = [path.relative_to(tree) for path in tree.rglob("*") if path.is_symlink() or not path.is_dir()]
        for path in (path for path in files if not path.is_relative_to(documents)):
            (out / path.parent).mkdir(parents=True, exist_ok=True)
            take_place(tree / path, out / path)
        (out / documents).mkdir(parents=True, exist_ok=True)
        take_place(tree / documents / package, out / documents / package)


def _run(name: str, *arguments: str, folder: Path, package: str) -> None:
    program = shutil.which(name)
    if program is None:
        raise RuntimeError(f"{name} is not on this machine (it belongs to Debian and its descendants); {REMEDY}")
    command = [program, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - fixed programs and names
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()[-3:]
        said = " / ".join(lines) or f"exit {done.returncode}"
        raise RuntimeError(f"{name} failed for {package}: {said}. Try `apt-get update` first; otherwise {REMEDY}")
