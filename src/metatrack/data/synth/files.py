"""Files of material: which there are, which show the same picture, and which subset they belong to."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, get_args

from metatrack.images import is_image_name

Subset = Literal["train", "val", "all"]
TRAIN_SHARE = 0.85  # share of the objects, and of the backgrounds, that the subset ``train`` may use; ``val`` has the rest


def picture_key(path: Path) -> str:
    """Name of the picture in a file: the same for the files that hold it in other sizes, mirrored, or as a night version.

    Wallpaper packages name files by their size alone (``Autumn/contents/images/2560x1600.jpg``): then the folder names it.

    >>> picture_key(Path("wallpapers/Autumn/contents/images/2560x1600.jpg"))
    'autumn'
    >>> picture_key(Path("nature/Elephants_3840x2160.jpg")) == picture_key(Path("Elephants.jpg"))
    True
    >>> picture_key(Path("gnome/wood-d.webp"))
    'wood'
    """
    stem = path.stem
    if re.fullmatch(r"\d+x\d+", stem):
        names = [part for part in path.parts[:-1] if part not in {"contents", "images", "images_dark"}]
        stem = names[-1] if names else stem
    stem = re.sub(r"[-_ ]*\d{3,5}x\d{3,5}", "", stem.lower())
    return re.sub(r"[-_](l|d|light|dark|mirror|flip|left|right)$", "", stem)


def require_subset(subset: str) -> None:
    """Raises a ``ValueError`` for what is no subset."""
    if subset not in get_args(Subset):
        raise ValueError(f"unknown subset {subset!r}; it is 'train', 'val' or 'all'")


def in_subset(path: Path, subset: Subset) -> bool:
    """Whether a file belongs to a subset: by a hash of :func:`picture_key`, the same on every machine and for every folder."""
    # The name alone, not the folder: unpacked elsewhere, an object stays on its side of the split.
    return key_in_subset(picture_key(path), subset)


def key_in_subset(key: str, subset: Subset) -> bool:
    """Whether what has such a key belongs to a subset, by a hash of it."""
    if subset == "all":
        return True
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") / 2**64 < TRAIN_SHARE) == (subset == "train")


def as_roots(value: Path | Iterable[Path]) -> list[Path]:
    """One folder or several, as a list."""
    return [Path(value)] if isinstance(value, str | os.PathLike) else [Path(item) for item in value]


def image_files(roots: Sequence[Path]) -> list[Path]:
    """All image files below the folders, sorted whatever the file system; a ``FileNotFoundError`` where there is no folder."""
    for root in roots:
        if not root.is_dir():
            raise FileNotFoundError(f"{root} is not a folder; `metatrack.data.material.fetch_material` fetches usable material")
    found = {path for root in roots for path in root.rglob("*") if is_image_name(path.name)}
    return sorted(found, key=lambda path: (path.name, path.as_posix()))
