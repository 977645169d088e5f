"""``metatrack data material`` and ``metatrack data synth``: training clips out of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metatrack.app.problem import needs_extra, user_input
from metatrack.runtime.processor import usable_cores


@dataclass(frozen=True)
class MaterialOptions:
    """Fetches five packages of pictures (about 500 MB unpacked) from Debian's archive, without installing them.

    Needs Debian or a descendant, no root. On other systems any folder of cut-out objects (images with transparency) and any
    folder of photographs will do. The licences of the pictures are in usr/share/doc of the folder.
    """

    out: Path
    """Folder to unpack them in; what is there is not fetched again."""


@dataclass(frozen=True)
class SynthOptions:
    """Composes clips of objects that move over photographs, in GOT-10k layout with exact boxes.

    The same options give the same bytes. Clips that exist are skipped: an interrupted call is resumed by repeating it.
    """

    objects: tuple[Path, ...]
    """Folders of images with transparency."""
    backgrounds: tuple[Path, ...]
    """Folders of photographs."""
    out: Path
    """Folder of the data set; the clips come into its split."""
    clips: int = 1000
    """Number of clips."""
    length: int = 10
    """Frames of a clip."""
    seed: int = 1
    """Seed of everything random."""
    subset: Literal["train", "val", "all"] = "train"
    """Part of the pictures to use: train and val share none."""
    split: str | None = None
    """Name of the split's folder; by default the subset's, and train for all."""
    processes: int = 0
    """Processes to work with; 0 is one for each core that this process may use."""


def material(options: MaterialOptions) -> int:
    """Fetches the pictures; returns the exit code.

    Raises:
        Problem: they cannot be had on this machine.
    """
    from metatrack.data.material import fetch_material

    with user_input(RuntimeError):
        found = fetch_material(options.out)
    backgrounds = " ".join(str(path) for path in found.backgrounds)
    print(f"next: metatrack data synth --objects {found.objects} --backgrounds {backgrounds} --out DIR")
    return 0


def synth(options: SynthOptions) -> int:
    """Composes the clips; returns the exit code.

    Raises:
        Problem: a folder or a number cannot be used.
    """
    with needs_extra("opencv", "metatrack data synth"):
        from metatrack.data.synth import Composer, write_clips

    split = options.split or ("train" if options.subset == "all" else options.subset)
    with user_input():
        composer = Composer(options.objects, options.backgrounds, subset=options.subset)
        processes = options.processes or usable_cores()
        folder = write_clips(composer, options.out, options.clips, options.length, options.seed, split=split, processes=processes)
    print(f"{options.clips} clips of {options.length} frames in {folder}")
    return 0
