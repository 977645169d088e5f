"""Common mistakes on the command line, each answered by what to do instead."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import PIL.Image

from metatrack.app.problem import Problem
from metatrack.hints import hint
from metatrack.images import IMAGE_SUFFIXES, image_files
from metatrack.video.sink import VIDEO_SUFFIXES
from metatrack.video.source import local_path, scheme_of


def option_names(options: Any) -> list[str]:
    """The options of a command, from the dataclass that holds them."""
    names = [field.name.rstrip("_").replace("_", "-") for field in dataclasses.fields(options)]
    return ["--help", *(f"--{name}" for name in names), *(f"--no-{name}" for name in names)]


def check_words(words: Sequence[str], options: Sequence[str]) -> None:
    """Checks the words behind a command that takes one source.

    Raises:
        Problem: several images are given (as the shell makes them of ``pngs/*.png``), or an option is not one of the command's.
    """
    images = [word for word in words if Path(word).suffix.lower() in IMAGE_SUFFIXES and Path(word).is_file()]
    if len(images) > 1 and len({Path(word).parent for word in images}) == 1:
        folder = Path(images[0]).parent
        raise Problem(f"{len(images)} images are given as sources; pass their folder, {folder}: its images are read in order")
    for word in words:
        name = word.partition("=")[0].replace("_", "-")
        if word.startswith("--") and name not in options:
            known = options if name.startswith("--no-") else [each for each in options if not each.startswith("--no-")]
            raise Problem(f"unknown option {name}; {hint(name, known, 'there are')}")


def check_source(source: str) -> None:
    """Raises a :class:`Problem`, before it is opened, for a source that is a single image, whatever its name says."""
    if scheme_of(source) is not None:
        return
    path = local_path(source)
    if path.suffix.lower() not in {*IMAGE_SUFFIXES, *VIDEO_SUFFIXES} or not path.is_file():
        return
    try:
        with PIL.Image.open(path) as image:
            kind, frames = str(image.format), getattr(image, "n_frames", 1)
    except Exception:  # noqa: BLE001 - no image that Pillow knows, or a damaged one: whoever opens it says so
        return
    if frames > 1:
        return
    if path.suffix.lower() in VIDEO_SUFFIXES:
        raise Problem(f"{path} is a single {kind} image, not a video, whatever its name says; pass a video or a folder of images")
    if len(image_files(path.parent)) > 1:
        raise Problem(f"{path} is a single image; pass its folder, {path.parent}, to track through its images")
