"""What a run of ``metatrack track`` is to write: checked before it, made during it, finished behind it."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field, replace
from pathlib import Path

from metatrack.app.convert import check_new, save
from metatrack.app.given import Given, Target
from metatrack.app.outputs import check_outputs, require_new
from metatrack.app.problem import Problem, user_input
from metatrack.app.products import FollowingVideos, HidingVideo, Product, TrainingData, following_paths
from metatrack.convert.formats import format_named
from metatrack.convert.table import read_csv
from metatrack.convert.tracks import Track, Tracks, Video
from metatrack.files import same_file
from metatrack.video import FrameSource
from metatrack.video.sink import rate_to_play


@dataclass
class Plan:
    """The files of one run."""

    boxes: str | None
    format: str
    video: Path | None
    crop_video: Path | None
    blur: Path | None
    dataset: Path | None
    _source: str = ""
    _clips: dict[Target, Path] = field(default_factory=dict)
    _hiding: HidingVideo | None = None

    @property
    def wanted(self) -> bool:
        """Whether anything is to be written."""
        return any((self.boxes, self.video, self.crop_video, self.blur, self.dataset))

    @property
    def table(self) -> str | None:
        """The table that is written while tracking: the result itself or, of another format, what it is made of in the end.

        A run that is killed leaves that table.
        """
        return self.boxes if self.boxes is None or self.format == "csv" else f"{self.boxes}.part.csv"

    def check(self, source: str, boxes_from: Path | None, times: bool) -> None:
        """Checks everything before the source is opened.

        Raises:
            Problem: something cannot be written, or would take the place of something else.
        """
        self._source = source
        with user_input():
            chosen = format_named(self.format)
        if self.format != "csv" and (self.boxes == "-" or times):
            what = "--boxes - writes a table to standard output" if self.boxes == "-" else "--times is a column of the table"
            raise Problem(f"{what}; it is csv, not {self.format}")
        if self.format != "csv" and self.boxes is None:
            raise Problem(f"--format {self.format} needs a file: --boxes boxes{(chosen.suffixes or ('',))[0]}")
        if self.dataset is not None:
            require_new(self.dataset, "--dataset")
        csv = self.boxes if self.format == "csv" else None
        check_outputs(source, csv, self.video, self.crop_video, self.blur)
        if self.boxes is not None and self.format != "csv":
            check_outputs(source, self.table, None)
            with user_input():
                check_new(Path(self.boxes), chosen)
        for path in (self.boxes, self.video, self.crop_video, self.blur):
            if path is not None and path != "-" and same_file(path, boxes_from):
                raise Problem(f"{path} is what --boxes-from reads; name another file for the result")

    def products(self, source: FrameSource, given: Given) -> list[Product]:
        """The writers of all but table and drawn video.

        Raises:
            Problem: a clip of one of several targets cannot be written.
            OSError, ValueError: a writer refuses.
        """
        targets = Tracks(
            tuple(Track(target, ()) for target in dict.fromkeys(t for n in sorted(given) for t in given[n]))
        ).numbers()
        rate = rate_to_play(source.fps)
        made: list[Product] = []
        if self.crop_video is not None:
            self._clips = following_paths(self.crop_video, targets)
            check_outputs(self._source, None, *self._clips.values())
            made.append(FollowingVideos(self._clips, rate, source.pixel_aspect))
        if self.blur is not None:
            self._hiding = HidingVideo(self.blur, rate, source.pixel_aspect)
            made.append(self._hiding)
        if self.dataset is not None:
            stem = Path(source.name).stem or "video"
            names = {target: stem if len(targets) == 1 else f"{stem}-{number}" for target, number in targets.items()}
            made.append(TrainingData(self.dataset, names))
        return made

    def finish(self, video: Video, given: Set[tuple[int, Target]]) -> None:
        """Makes the file of boxes of the table, where its format is another; after a :class:`Problem` the table stays."""
        if self.boxes is None or self.table is None or self.format == "csv":
            return
        part = Path(self.table)
        try:
            tracks = read_csv(part, video)
            marked = [
                replace(track, marks=tuple(m._replace(keyframe=(m.frame, track.target) in given) for m in track.marks))
                for track in tracks.targets
            ]
            save(replace(tracks, targets=tuple(marked)), self.format, Path(self.boxes))
        except (OSError, ValueError, ModuleNotFoundError) as error:
            raise Problem(f"{error}; the boxes are in {part}") from error
        part.unlink()

    def made(self) -> list[tuple[str, str]]:
        """What was written, in words, for the summary."""
        files: list[tuple[str, object]] = [("boxes", self.boxes if self.boxes != "-" else None), ("video", self.video)]
        files += [("clip", path) for path in self._clips.values()]
        files += [("hidden", self.blur), ("dataset", self.dataset)]
        return [(what, str(path)) for what, path in files if path is not None]

    def notes(self, frames: int) -> list[str]:
        """What a person must know of what was written."""
        if self._hiding is None:
            return []
        look = f"look at {self.blur} before you publish it: a tracker can miss a target"
        bare = self._hiding.open_frames
        return [f"{bare} of {frames} frames have no box, and nothing is hidden in them", look] if bare else [look]
