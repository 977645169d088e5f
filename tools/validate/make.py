"""``python -m tools.validate.make --mirror DIR --out DIR``: the validation's clips, in the layout of GOT-10k.

The sources are in ``clips.toml``; mirror them first (``git clone --mirror https://github.com/OWNER/NAME DIR/OWNER+NAME/repo``).
Half of the targets are in the split ``choose``, on which settings are chosen, the others in ``report``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tyro

from metatrack.files import write_atomically
from tools.validate.material import naturals
from tools.validate.scenes import GONE, KINDS, Scene, filmed

QUALITY = 92
LARGEST_SHARE = 0.35
"""Share of its frame that a filmed target may fill; beyond it there is nothing to be lost to."""


@dataclass(frozen=True)
class MakeOptions:
    """Makes the validation's clips."""

    mirror: Path
    """Folder of the mirrored repositories."""
    out: Path
    """Folder of the splits choose and report."""
    seed: int = 1
    """Of the pasted scenes."""


def main(options: MakeOptions) -> None:
    """Every clip as it was filmed, and once pasted into a scene of one kind in turn."""
    clips = list(naturals(options.mirror))
    for n, own in enumerate(clips):
        split = options.out / ("choose", "report")[n % 2]
        rng = np.random.default_rng([options.seed, n])
        others = [each for each in clips if each.name != own.name and clips.index(each) % 2 == n % 2]
        kind = KINDS[list(KINDS)[n // 2 % len(KINDS)]]
        scenes = [kind(own, others, rng)]
        if own.masks.mean((1, 2)).max() < LARGEST_SHARE:
            scenes.append(filmed(own))
        for scene in scenes:
            write(scene, split / scene.name)
            print(split.name, scene.name, flush=True)


def write(scene: Scene, folder: Path) -> None:
    """Frames, whole boxes, and the visible share in eighths (``cover.label``; ``absence.label`` where less than a tenth is)."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, frame in enumerate(scene.frames):
        done, data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if not done:
            raise ValueError(f"{folder}: frame {i + 1} cannot be written as JPEG")
        write_atomically(folder / f"{i + 1:08d}.jpg", data.tobytes())
    gone = scene.visible < GONE
    cover = np.where(gone, 0, np.maximum(1, np.rint(scene.visible * 8))).astype(int)
    write_atomically(folder / "groundtruth.txt", "".join(",".join(f"{v:.2f}" for v in box) + "\n" for box in scene.boxes))
    write_atomically(folder / "absence.label", "".join(f"{int(each)}\n" for each in gone))
    write_atomically(folder / "cover.label", "".join(f"{each}\n" for each in cover))


if __name__ == "__main__":
    main(tyro.cli(MakeOptions))
