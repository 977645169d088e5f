"""What the child processes do: give frames, track, show a camera, write a video with the boxes on it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, Any

import msgspec

from metatrack.confined import limit, receive, restrict, seconds_used, send
from metatrack.geometry import Image
from metatrack.images import encode_image, resize
from metatrack.video.errors import SourceError
from metatrack.video.seek import Seekable, open_seekable
from metatrack.web.child import Ended, Opened, Picture, SentBox, TrackedFrame

PREVIEW_EVERY = 0.1  # seconds between two pictures that a tracking shows
PREVIEW_WIDTH = 960  # their width in pixels, at most
QUALITY, THUMBNAIL_QUALITY = 88, 50
"""Of JPEGs."""
SECONDS = 120  # of the processor's time, to open a video or to find a frame of it

BoxNumbers = tuple[float, float, float, float]


class Open(msgspec.Struct):
    """To the reader: which video."""

    source: str
    most_pixels: int
    most_seconds: float


class Ask(msgspec.Struct):
    """To the reader: a frame, not wider than ``width`` pixels (0: as it is)."""

    frame: int
    width: int


class Shrink(msgspec.Struct):
    """To the maker of thumbnails: a video, its frames ``first`` to ``last``, and how wide they are to be."""

    source: str
    first: int
    last: int
    width: int


class TargetToTrack(msgspec.Struct):
    """A target, as a tracking begins with it."""

    id: int
    box: BoxNumbers  # where it is in the first frame of the tracking
    key: int  # the frame from which its appearance is learnt: the nearest that a person drew it in
    key_box: BoxNumbers  # where it is there
    keys: dict[int, BoxNumbers] = {}  # boxes that a person drew further on: they stay, and tracking starts anew from each
    absent: set[int] = set()  # frames in which a person says that it is not visible: nothing is said about them


class TrackingOrder(msgspec.Struct):
    """To the tracker."""

    source: str
    first: int  # the frame of the boxes
    last: int  # the last frame to track; before ``first``: backwards
    targets: list[TargetToTrack]
    stop_when_lost: bool = False


class Live(msgspec.Struct):
    """To the camera's process: the camera, where to record it, and for how long at most."""

    camera: int | str
    record: str
    most_seconds: float


class GivenBox(msgspec.Struct):
    """To the camera's process: follow a target from this box on, or forget it."""

    target: int
    box: BoxNumbers | None


class Film(msgspec.Struct):
    """To the film's process: a video, its boxes, and where to write it with them."""

    source: str
    out: str
    fps: float | None
    boxes: list[tuple[str, tuple[int, int, int], list[SentBox]]]  # of each target: its name, its colour, its rows


def jpeg(image: Image, width: int) -> bytes:
    """A frame as JPEG, not wider than ``width`` (0: as it is)."""
    if 0 < width < image.shape[1]:
        image = resize(image, (width, max(1, round(image.shape[0] * width / image.shape[1]))))
    return encode_image(image, ".jpg", quality=QUALITY)


def read_frames(inbox: IO[bytes], outbox: IO[bytes], memory: int) -> None:
    """The reader: opens a video, then answers for one frame after another."""
    restrict(memory, seconds=SECONDS)
    order, _ = receive(inbox, Open)
    video = open_seekable(order.source)
    first = video.read(0)
    height, width = first.shape[:2]
    length = _length(video)
    check_size(order, width, height, length)
    send(outbox, Opened(video.count, width, height, video.fps, length, video.reach))
    while True:
        ask, _ = receive(inbox, Ask)
        limit("RLIMIT_CPU", seconds_used() + SECONDS)
        try:
            send(outbox, Picture(ask.frame), jpeg(video.read(ask.frame, ask.width), ask.width))
        except (SourceError, ValueError) as error:
            send(outbox, Ended(str(error), refused=True))


def shrink(inbox: IO[bytes], outbox: IO[bytes], memory: int) -> None:
    """The maker of thumbnails: one for each frame, in order, when nobody else wants the processor."""
    restrict(memory, seconds=SECONDS)
    order, _ = receive(inbox, Shrink)
    with suppress(AttributeError, OSError):  # Windows has none
        os.nice(19)
    video = open_seekable(order.source)
    for number, image in video.walk(order.first, order.last, order.width):
        limit("RLIMIT_CPU", seconds_used() + SECONDS)
        send(outbox, Picture(number), encode_image(image, ".jpg", quality=THUMBNAIL_QUALITY))


def _length(video: Seekable) -> float | None:
    last = video.time(video.count - 1)
    return None if last is None else last + (1 / video.fps if video.fps else 0.0)


def check_size(order: Open, width: int, height: int, length: float | None) -> None:
    """Raises a :class:`SourceError` for a video that is larger than was allowed."""
    if width * height > order.most_pixels:
        raise SourceError(
            f"the video has frames of {width}x{height} pixels; at most {order.most_pixels} are taken:"
            f" scale it down (ffmpeg -i in.mp4 -vf scale=1920:-2 out.mp4), or start metatrack app with a larger --pixels"
        )
    if length is not None and length > order.most_seconds:
        raise SourceError(
            f"the video is {length / 60:.0f} minutes long; at most {order.most_seconds / 60:.0f} are taken: cut it,"
            f" or start metatrack app with a larger --minutes"
        )


def track(inbox: IO[bytes], outbox: IO[bytes], memory: int) -> None:
    """The tracker: learns the targets, and says where they are, frame by frame."""
    from metatrack.runtime.load import load_model
    from metatrack.tracking.multi import MultiTracker

    model = load_model("lite")
    restrict(memory)
    order, _ = receive(inbox, TrackingOrder)
    stop = _watch(inbox)
    video = open_seekable(order.source)
    tracker = MultiTracker(model)
    targets = {target.id: target for target in order.targets}
    for target in sorted(order.targets, key=lambda each: each.key):
        tracker.add(video.read(target.key), target.key_box, target.id)
        if target.key != order.first:
            tracker.place(target.id, target.box)
    send(outbox, Opened(video.count, 0, 0))
    shown, lost = 0.0, set[int]()
    step = 1 if order.last >= order.first else -1
    for number, image in video.walk(order.first + step, order.last) if order.first != order.last else ():
        results = tracker.update(image)
        rows = []
        for name, result in results.items():
            target = targets[int(name)]
            if number in target.keys:
                tracker.correct(name, image, target.keys[number])
            elif number not in target.absent:
                rows.append(SentBox(target.id, number, *result.box, result.score, result.lost))
        due = time.monotonic() - shown >= PREVIEW_EVERY
        shown = time.monotonic() if due else shown
        send(outbox, TrackedFrame(number, rows), jpeg(image, PREVIEW_WIDTH) if due else b"")
        now_lost = {row.target for row in rows if row.lost}
        if order.stop_when_lost and now_lost - lost:
            send(outbox, Ended(f"lost at frame {number}"))
            return
        lost = now_lost
        if stop.is_set():
            send(outbox, Ended("paused"))
            return
    send(outbox, Ended())


def _watch(inbox: IO[bytes], mark: Callable[[GivenBox], None] = lambda mark: None) -> threading.Event:
    """Set when whoever started us wants no more, or is gone; marks that come before go to ``mark``."""
    stop = threading.Event()

    def wait() -> None:
        with suppress(EOFError, ValueError, OSError):
            while True:
                mark(receive(inbox, GivenBox)[0])
        stop.set()

    threading.Thread(target=wait, daemon=True).start()
    return stop


def live(inbox: IO[bytes], outbox: IO[bytes], memory: int) -> None:
    """The camera: shows and records each newest frame, and follows what is marked on it."""
    from metatrack.runtime.load import load_model
    from metatrack.tracking.multi import MultiTracker
    from metatrack.video import VideoWriter, open_source

    tracker = MultiTracker(load_model("lite"))
    order, _ = receive(inbox, Live)
    marks: list[GivenBox] = []
    stop = _watch(inbox, marks.append)
    begin, number = time.monotonic(), 0
    with open_source(order.camera) as source, VideoWriter(order.record, source.fps) as film:
        send(outbox, Opened(0, *source.size, source.fps))
        for image in source:
            at = time.monotonic() - begin
            fresh = _marked(tracker, image, marks)
            results = {**tracker.update(image)} if len(tracker.targets) > len(fresh) else {}
            film.write(image, at)
            rows = [SentBox(int(i), number, *r.box, r.score, r.lost) for i, r in results.items() if i not in fresh]
            rows += [SentBox(i, number, *box, 1.0, False) for i, box in fresh.items()]
            send(outbox, TrackedFrame(number, rows), jpeg(image, PREVIEW_WIDTH))
            number += 1
            if stop.is_set() or at > order.most_seconds:
                break
    send(outbox, Ended("paused" if stop.is_set() else None))


def _marked(tracker: Any, image: Image, marks: list[GivenBox]) -> dict[int, BoxNumbers]:
    """Does what a person asked for since the last frame; says which targets begin with this one."""
    fresh: dict[int, BoxNumbers] = {}
    while marks:
        mark = marks.pop(0)
        if mark.target in tracker.targets:
            tracker.remove(mark.target)
        if mark.box is not None:
            with suppress(ValueError):  # drawn on an earlier frame of another size
                tracker.add(image, mark.box, mark.target)
                fresh[mark.target] = mark.box
    return fresh


def film(inbox: IO[bytes], outbox: IO[bytes], memory: int) -> None:
    """Writes a video again, with boxes on it."""
    from metatrack.video import VideoWriter, draw
    from metatrack.video.sink import rate_to_play

    restrict(memory, file_size=1 << 34)
    order, _ = receive(inbox, Film)
    stop = _watch(inbox)
    video = open_seekable(order.source)
    by_frame: dict[int, list[tuple[str, tuple[int, int, int], SentBox]]] = {}
    for name, color, rows in order.boxes:
        for row in rows:
            by_frame.setdefault(row.frame, []).append((name, color, row))
    send(outbox, Opened(video.count, 0, 0))
    with VideoWriter(order.out, rate_to_play(video.fps)) as out:
        for number, image in video.walk(0, video.count - 1):
            picture = image
            for name, color, row in by_frame.get(number, ()):
                picture = draw(picture, (row.x, row.y, row.w, row.h), row.score, row.lost, name, color=color)
            out.write(picture, video.time(number))
            send(outbox, TrackedFrame(number, []))
            if stop.is_set():
                raise SourceError("writing the video was stopped")
    send(outbox, Ended())


ROLES: Mapping[str, Callable[[IO[bytes], IO[bytes], int], None]] = {
    "read": read_frames,
    "shrink": shrink,
    "track": track,
    "live": live,
    "film": film,
}


def main() -> None:
    """The process: one role, told by the command line."""
    role, memory = sys.argv[1], int(sys.argv[2])
    inbox, outbox = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no message
    try:
        ROLES[role](inbox, outbox, memory)
    except (EOFError, BrokenPipeError):  # whoever started us is done, or gone
        return
    except MemoryError:
        problem = "the video needs more memory than is allowed; scale it down, or start metatrack app with a larger --memory"
        send(outbox, Ended(problem, refused=True))
    except (OSError, ValueError) as error:
        with suppress(OSError):
            send(outbox, Ended(str(error), refused=True))
    os._exit(0)  # threads of networks and decoders have nothing left to say


if __name__ == "__main__":
    main()
