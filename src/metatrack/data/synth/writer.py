"""Writing clips to disk."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metatrack.arrays import UInt8
from metatrack.claims import alone
from metatrack.data.clips import MadeClip, Maker
from metatrack.data.opencv import cv2
from metatrack.files import take_place, write_atomically
from metatrack.typed import read_json

GONE = 0.1  # where less of the target than this share is to be seen, it is absent


@dataclass(frozen=True)
class _Job:
    """What the clips of one call have in common."""

    maker: Maker
    folder: Path
    prefix: str
    length: int
    seed: int
    quality: int
    masks: bool = False

    def clip_folder(self, index: int) -> Path:
        return self.folder / f"{self.prefix}-{index:06d}"

    def write(self, index: int) -> None:
        """Writes one clip into a temporary folder and renames it: a clip is there whole or not at all."""
        final = self.clip_folder(index)
        clip = self.maker.clip(np.random.default_rng([self.seed, index]), self.length)
        part = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=self.folder))
        try:
            self._write_frames(part, clip)
            _write_labels(part, clip)
            part.chmod(0o755)  # mkdtemp's 0700 would keep others from reading the clip
            take_place(part, final)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise

    def _write_frames(self, folder: Path, clip: MadeClip) -> None:
        for i, frame in enumerate(clip.frames):
            bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
            _write_image(folder / f"{i + 1:08d}.jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
        if self.masks and clip.numbers is not None:
            (folder / "masks").mkdir()
            for i, numbers in enumerate(clip.numbers):
                _write_image(folder / "masks" / f"{i + 1:08d}.png", numbers, [])


def _write_image(path: Path, image: UInt8, how: list[int]) -> None:
    if not cv2.imwrite(os.fspath(path), image, how):
        raise OSError(f"cannot write {path}")


def _write_labels(folder: Path, clip: MadeClip) -> None:
    """The boxes, and where it is known what is to be seen of the target, the labels of GOT-10k: absence, and cover in eighths."""
    rows = [",".join(f"{v:.4f}" for v in box) for box in clip.boxes]
    (folder / "groundtruth.txt").write_text("\n".join(rows) + "\n", encoding="ascii")
    if clip.visible is not None:
        gone = clip.visible < GONE
        cover = np.where(gone, 0, np.maximum(1, np.rint(8 * clip.visible))).astype(int)
        (folder / "absence.label").write_text("".join(f"{int(each)}\n" for each in gone), encoding="ascii")
        (folder / "cover.label").write_text("".join(f"{each}\n" for each in cover), encoding="ascii")


_job: _Job | None = None  # of a worker process: sent once, since it holds all objects


def _start(job: _Job) -> None:
    """Starts a worker process: one thread each, since the processes fill the cores already."""
    global _job
    cv2.setNumThreads(1)
    _job = job


def _work(index: int) -> None:
    if _job is None:
        raise RuntimeError("the worker process was not started by write_clips")
    _job.write(index)


def _recipe(job: _Job) -> str:
    """All that the bytes of the clips depend on, as JSON."""
    material = hashlib.sha256()
    for path in job.maker.materials:
        material.update(f"{path.name}:{path.stat().st_size}\n".encode())
    recipe = {
        "seed": job.seed,
        "length": job.length,
        "quality": job.quality,
        **job.maker.recipe(),
        "material": material.hexdigest()[:16],
    }
    return json.dumps(recipe, indent=1) + "\n"


def _is_recipe(path: Path) -> bool:
    """Whether a file is the note of an earlier call."""
    try:
        return {"seed", "length", "material"} <= read_json(path, dict[str, object]).keys()
    except (OSError, ValueError):
        return False


def write_clips(
    maker: Maker,
    out: Path,
    clips: int,
    length: int,
    seed: int,
    *,
    split: str = "train",
    name_prefix: str = "synth",
    quality: int = 92,
    processes: int = 1,
    masks: bool = False,
) -> Path:
    """Writes clips in GOT-10k layout: ``<out>/<split>/<prefix>-000000/00000001.jpg ...``, ``groundtruth.txt``, ``list.txt``.

    Where the maker knows what is to be seen of the target, ``absence.label`` and ``cover.label`` are written too.
    MadeClip i depends on ``[seed, i]``, the length, and the maker's material and config alone: the same call gives the same
    bytes, whatever was there before and however many processes write. Clips that exist are skipped, so that a call that was
    interrupted is resumed by repeating it, and more clips are added by a larger ``clips``.

    Args:
        maker: a :class:`metatrack.data.synth.Composer` or another maker.
        out: folder of the data set; ``split`` and the clips, whose names begin with ``name_prefix``, come below it.
        clips, length, seed: how many clips, of how many frames, and the seed of everything random.
        quality: of the JPEG files.
        processes: that write at once.
        masks: numbers of objects are written too, where the maker knows them: ``masks/00000001.png`` beside the frames.

    Returns:
        The folder ``<out>/<split>``.

    Raises:
        ValueError: the folder holds clips that were made with another seed, length, config or material, or a list of others.
        OSError: a photograph cannot be read, or a file cannot be written; or another call is writing there.
    """
    if clips < 1 or length < 1 or processes < 1:
        raise ValueError(f"clips={clips}, length={length} and processes={processes} must be at least 1")
    folder = Path(out) / split
    folder.mkdir(parents=True, exist_ok=True)
    job = _Job(maker, folder, name_prefix, length, seed, quality, masks)
    with alone(folder / ".lock", folder):
        _write_all(job, clips, processes)
    return folder


def _write_all(job: _Job, clips: int, processes: int) -> None:
    folder, name_prefix = job.folder, job.prefix
    text = _recipe(job)
    note = folder / f"{name_prefix}.json"
    if note.exists() and note.read_text(encoding="utf-8") != text:
        raise ValueError(
            f"{folder} holds clips {name_prefix!r} of another recipe than this call's; delete the folder, or choose another "
            f"name_prefix (recipe: {note})"
        )
    listing = folder / "list.txt"
    if not note.exists() and listing.exists() and not any(map(_is_recipe, folder.glob("*.json"))):
        raise ValueError(f"{listing} lists sequences that this program has not made, and would be replaced; name another folder")
    write_atomically(note, text)
    missing = [i for i in range(clips) if not (job.clip_folder(i) / "groundtruth.txt").is_file()]
    if processes == 1:
        for index in missing:
            job.write(index)
    elif missing:
        # "spawn" where others fork: a fork copies the locks of OpenCV's threads in whatever state they are in.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=spawn, initializer=_start, initargs=(job,)) as pool:
            for _ in pool.map(_work, missing, chunksize=4):
                pass
    names = sorted(path.parent.name for path in folder.glob("*/groundtruth.txt") if not path.parent.name.startswith("."))
    write_atomically(listing, "".join(f"{name}\n" for name in names))
