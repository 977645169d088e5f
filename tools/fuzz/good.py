"""Good files, to be damaged: images, videos, results."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image

from metatrack.evaluation.score.formats import write_json, write_mat
from metatrack.evaluation.score.records import Trajectory
from tools.fuzz.target import Good, cached

ROWS = "".join(f"{10 + k},{20.5 + k},30,40\n" for k in range(12)).encode()


def pictures(kind: str, modes: Sequence[str] = ("RGB",)) -> Good:
    """Images in a format of Pillow's; where it can have one, with an orientation."""

    def make() -> Sequence[bytes]:
        pixels = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
        turned = PIL.Image.Exif()
        turned[0x0112] = 6
        made = []
        for mode in modes:
            file = io.BytesIO()
            picture = PIL.Image.fromarray(pixels).convert("L").convert(mode) if mode[0] in "IF" else PIL.Image.fromarray(pixels)
            how: dict[str, Any] = {"exif": turned} if kind in ("jpeg", "png", "webp", "tiff") else {}
            (picture if mode[0] in "IF" else picture.convert(mode)).save(file, kind, **how)
            made.append(file.getvalue())
        return made

    return cached(make)


def videos(suffix: str, codec: str) -> Good:
    """A short clip."""

    def make() -> Sequence[bytes]:
        file = io.BytesIO()
        pixels = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
        with av.open(file, "w", format={"mkv": "matroska", "ts": "mpegts", "mpg": "mpeg"}.get(suffix, suffix)) as container:
            stream: Any = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
            for k in range(6):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(pixels, k, 0))))
            container.mux(stream.encode())
        return [file.getvalue()]

    return cached(make)


def results(suffix: str) -> Good:
    """Result files of two runs."""

    def make() -> Sequence[bytes]:
        runs = [Trajectory(np.arange(40.0).reshape(10, 4) + 1, 1, 30.0), Trajectory(np.full((10, 4), np.nan))]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"Deer{suffix}"
            if suffix == ".mat":
                write_mat(path, runs)
            else:
                write_json(path, runs, "KCF", "Deer", "ope")
            return [path.read_bytes()]

    return cached(make)


@cached
def archives() -> Sequence[bytes]:
    """A .zip of result files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("Deer.txt", "Jogging(2).txt"):
            archive.writestr(name, ROWS * 5)
    return [file.getvalue()]


@cached
def weights() -> Sequence[bytes]:
    """A training's weights (needs torch): of a network that is none of ours, so that the file stays small."""
    import torch

    file = io.BytesIO()
    state = {"network": {"a": torch.zeros(4), "b": torch.ones(2, 3)}, "config": {"trunk": "lite", "kernels": 8}, "step": 3}
    torch.save(state, file)
    return [file.getvalue()]
