"""``metatrack demo``: the clip inside the package, tracked, drawn, and compared with boxes drawn by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from PIL.PngImagePlugin import PngInfo

from metatrack.app.outputs import check_outputs, may_be_replaced
from metatrack.app.problem import user_input
from metatrack.app.track import ModelName, Step, describe, track
from metatrack.geometry import Box, Image, iou
from metatrack.images import png_text, write_image
from metatrack.tracking.multi import MultiTracker
from metatrack.video import BoxRow, draw, filmstrip, open_source, read_boxes

CREDIT = "Clip: Big Buck Bunny, (c) 2008 Blender Foundation, www.bigbuckbunny.org, CC BY 3.0"
STRIP = 8  # frames on the filmstrip


@dataclass(frozen=True)
class DemoOptions:
    """Tracks the clip inside the package and writes a video with the box drawn on it, the table of boxes and a filmstrip."""

    out: Path = Path("metatrack-demo")
    """Folder for the results; it is made if it does not exist."""
    model: ModelName = "lite"
    """Shipped model (see metatrack models), or folder of a bundle."""
    adapt: bool = True
    """Let the meta-learner adapt the model to the target while it tracks."""


@contextmanager
def demo_clip() -> Iterator[tuple[Path, list[BoxRow]]]:
    """The clip's file and its hand-labelled boxes, the first of which is the box to start with."""
    assets = resources.files("metatrack") / "assets"
    with resources.as_file(assets / "demo.mp4") as clip, resources.as_file(assets / "demo.csv") as table:
        yield clip, read_boxes(table)


def run(options: DemoOptions) -> int:
    """Runs the demo; returns the exit code."""
    with user_input():
        tracker = MultiTracker(options.model, options.adapt)
        options.out.mkdir(parents=True, exist_ok=True)
    video, table, strip = (options.out / name for name in ("tracked.mp4", "boxes.csv", "filmstrip.png"))
    with demo_clip() as (clip, _):
        check_outputs(clip, table, video)
    may_be_replaced(strip, _is_ours, "picture")
    boxes: dict[int, Box] = {}
    shots: list[tuple[str, Image]] = []
    with demo_clip() as (clip, labels), open_source(clip) as source:
        chosen = set(np.linspace(0, (source.frame_count or 1) - 1, STRIP).round().astype(int).tolist())

        def watch(step: Step) -> None:
            boxes[step.number] = step.result.box
            if step.number in chosen:
                shots.append((f"frame {step.number}", draw(step.frame, *step.result)))

        summary = track(tracker, source, labels[0].box, boxes=table, video=video, watch=watch)
        print(describe(summary, source, tracker))
    picture = filmstrip([shot for _, shot in shots], columns=STRIP // 2, captions=[name for name, _ in shots])
    write_image(strip, picture, pnginfo=_mark())
    print(f"{'overlap':<9}{_overlap(boxes, labels)}")
    for what, path in (("boxes", table), ("video", video), ("pictures", strip)):
        print(f"{what:<9}{path}")
    print(CREDIT)
    return summary.status


def _mark() -> PngInfo:
    """What tells a picture of ours from others."""
    mark = PngInfo()
    mark.add_text("Software", "metatrack")
    return mark


def _is_ours(picture: Path) -> bool:
    return png_text(picture, "Software") == "metatrack"


def _overlap(boxes: dict[int, Box], labels: list[BoxRow]) -> str:
    """Mean overlap with the labels but the first, which the tracker was given."""
    overlaps = [float(iou(boxes[row.frame], row.box)) for row in labels[1:] if row.frame in boxes]
    if not overlaps:
        return "not measured: the run ended before the first labelled frame"
    return f"{np.mean(overlaps):.3f} on average with {len(overlaps)} boxes drawn by hand (lowest {min(overlaps):.3f})"
