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

from metatrack.claims import alone
from metatrack.data.synth.composer import Composer
from metatrack.files import take_place, write_atomically
from metatrack.opencv import require_opencv
from metatrack.typed import read_json

cv2 = require_opencv("the composer of synthetic clips")


@dataclass(frozen=True)
class _Job:
    """What the clips of one call have in common."""

    composer: Composer
    folder: Path
    prefix: str
    length: int
    seed: int
    quality: int

    def clip_folder(self, index: int) -> Path:
        return self.folder / f"{self.prefix}-{index:06d}"

    def write(self, index: int) -> None:
        """Writes one clip into a temporary folder and renames it: a clip is there whole or not at all."""
        final = self.clip_folder(index)
        frames, boxes = self.composer.clip(np.random.default_rng([self.seed, index]), self.length)
        part = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=self.folder))
        try:
            for i, frame in enumerate(frames):
                path = part / f"{i + 1:08d}.jpg"
                bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
                if not cv2.imwrite(os.fspath(path), bgr, [cv2.IMWRITE_JPEG_QUALITY, self.quality]):
                    raise OSError(f"cannot write {path}")
            rows = [",".join(f"{v:.4f}" for v in box) for box in boxes]
            (part / "groundtruth.txt").write_text("\n".join(rows) + "\n", encoding="ascii")
            part.chmod(0o755)  # mkdtemp's 0700 would keep others from reading the clip
            take_place(part, final)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


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
    composer = job.composer
    material = hashlib.sha256()
    for path in [*composer.object_paths, *composer.photo_paths]:
        material.update(f"{path.name}:{path.stat().st_size}\n".encode())
    recipe = {
        "seed": job.seed,
        "length": job.length,
        "quality": job.quality,
        "subset": composer.subset,
        "config": vars(composer.config),
        "objects": len(composer.object_paths),
        "backgrounds": len(composer.photo_paths),
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
    composer: Composer,
    out: Path,
    clips: int,
    length: int,
    seed: int,
    *,
    split: str = "train",
    name_prefix: str = "synth",
    quality: int = 92,
    processes: int = 1,
) -> Path:
    """Writes clips in GOT-10k layout: ``<out>/<split>/<prefix>-000000/00000001.jpg ...``, ``groundtruth.txt``, ``list.txt``.

    Clip i depends on ``[seed, i]``, the length, and the composer's material and config alone: the same call gives the same
    bytes, whatever was there before and however many processes write. Clips that exist are skipped, so that a call that was
    interrupted is resumed by repeating it, and more clips are added by a larger ``clips``.

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
    job = _Job(composer, folder, name_prefix, length, seed, quality)
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
