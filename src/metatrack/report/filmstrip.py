"""Filmstrips: evenly spaced frames of a sequence with the boxes of all trackers on them (figure 7 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from typing import NamedTuple

import numpy as np

from metatrack.arrays import Float64
from metatrack.data.sequence import Sequence
from metatrack.evaluation.score import metrics
from metatrack.geometry import Image
from metatrack.images import encode_image, resize
from metatrack.report.findings import Findings
from metatrack.report.style import LineStyle
from metatrack.video.overlay import filmstrip, outline

TRUTH = (255, 255, 255)  # RGB of the true box; white is no tracker's colour
WIDTH, HEIGHT = 480, 360  # pixels that a frame fills at most in the page
QUALITY = 80  # of the JPEG files
THICK = 3  # width of the lines in pixels, before the page scales the picture down; the focus' is wider by one


class Still(NamedTuple):
    """One frame."""

    number: int  # as the data set counts
    jpeg: bytes
    overlap: float  # of the focus; NaN if it has no box or the truth is unknown


class Strip(NamedTuple):
    """One sequence."""

    sequence: str
    stills: tuple[Still, ...]
    jpeg: bytes  # all of them in one picture, for documents


def indices(count: int, frames: int) -> list[int]:
    """At most ``frames`` of the indices 0 .. ``count`` - 1, evenly spaced, with the last, and without the first if it can be.

    In the first frame all trackers have the true box.

    >>> indices(101, 5), indices(3, 5)
    ([20, 40, 60, 80, 100], [0, 1, 2])
    """
    if frames >= count:
        return list(range(count))
    return [round(k * (count - 1) / frames) for k in range(1, frames + 1)]


def strip(sequence: Sequence, findings: Findings, styles: Mapping[str, LineStyle], frames: int | Seq[int]) -> Strip:
    """Draws one sequence.

    Args:
        frames: how many to show, at most; or which, by the data set's own numbers (those that it does not have are passed over,
            and where it has none, six are shown).

    Raises:
        OSError: a frame cannot be read.
    """
    stills, pictures, captions = [], [], []
    focus = findings.entry(findings.focus).findings.get(sequence.name)
    wanted = [] if isinstance(frames, int) else [n - sequence.start_frame for n in frames]
    there = [i for i in wanted if 0 <= i < len(sequence)]
    for i in there or indices(len(sequence), frames if isinstance(frames, int) else 6):
        picture = _picture(sequence.frame(i), i, sequence, findings, styles)
        overlap = float("nan")
        if focus is not None and i >= focus.start:
            overlap = float(metrics.overlaps(focus.boxes[i - focus.start][None], sequence.boxes[i][None])[0])
        number = sequence.start_frame + i
        stills.append(Still(number, _jpeg(picture), overlap))
        pictures.append(picture)
        captions.append(f"#{number}")
    return Strip(sequence.name, tuple(stills), _jpeg(filmstrip(pictures, captions=captions, height=240, gap=6)))


def _picture(frame: Image, i: int, sequence: Sequence, findings: Findings, styles: Mapping[str, LineStyle]) -> Image:
    """Frame ``i``, scaled first and drawn on then: lines are equally thin in a picture of any size."""
    height, width = frame.shape[:2]
    scale = min(WIDTH / width, HEIGHT / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = resize(frame, size, sharp=True)
    ratio = np.array([size[0] / width, size[1] / height] * 2)
    truth = sequence.boxes[i]
    if metrics.known(truth):
        canvas = outline(canvas, truth * ratio, TRUTH, THICK)
    # The worst first and the focus last, so that what matters most is on top.
    for entry in sorted(reversed(findings.entries), key=lambda entry: entry.name == findings.focus):
        finding, style = entry.findings.get(sequence.name), styles[entry.name]
        if finding is not None and i >= finding.start:
            box: Float64 = finding.boxes[i - finding.start]
            # Lines end beyond their dashes by half their width and the rim; gaps have to show all the same.
            dashes = (style.dashes[0] * THICK, style.dashes[1] * THICK + 2 * THICK) if style.dashes else None
            if metrics.known(box):
                canvas = outline(canvas, box * ratio, style.rgb, THICK + (entry.name == findings.focus), dashes)
    return canvas


def _jpeg(picture: Image) -> bytes:
    # Colours at full resolution: halved, as is the rule, thin lines lose the colour that says whose they are.
    return encode_image(picture, ".jpg", quality=QUALITY, subsampling="4:4:4")
