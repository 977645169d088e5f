"""What a command writes is checked before the first of it is opened: nothing of the user's is ever destroyed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

from metatrack.app.problem import Problem, user_input
from metatrack.files import require_writable, same_file
from metatrack.images import IMAGE_SUFFIXES, image_files
from metatrack.video.sink import HEADER, HEADER_WITH_IDS, TABLE_SUFFIXES, VIDEO_SUFFIXES, is_ours
from metatrack.video.source import local_path, scheme_of


def check_outputs(source: str | Path, table: str | Path | None, *given: str | Path | None) -> None:
    """Checks the files that a run over a source is to write: a table, of which ``"-"`` is standard output, and videos.

    None is no file.

    Raises:
        Problem: one is the source or an image of it, both are one, or one cannot be written, is of the wrong kind, or holds what
            metatrack has not written.
    """
    videos = [Path(path) for path in given if path is not None]
    tables = [] if table is None or table == "-" else [Path(table)]
    files = [*tables, *videos]
    for path in files:
        _apart_from(path, source)
    for one, other in combinations(files, 2):
        if same_file(one, other):
            what = "both the table and the video" if one in tables else "two videos"
            raise Problem(f"{other} cannot be {what}; name two files")
    for path in files:
        with user_input():
            require_writable(path)
    for video in videos:
        if video.suffix.lower() not in VIDEO_SUFFIXES:
            raise Problem(f"{video} does not end in one of {' '.join(VIDEO_SUFFIXES)}; name the video result.mp4, say")
    for path in tables:
        may_be_replaced(path, _is_table, "table")
        if path.suffix.lower() not in TABLE_SUFFIXES:
            raise Problem(f"{path} does not end in {' or '.join(filter(None, TABLE_SUFFIXES))}; name the table boxes.csv, say")
    for video in videos:
        may_be_replaced(video, is_ours, "video")


def _apart_from(path: Path, source: str | Path) -> None:
    """That a result does not take the place of what is read."""
    if isinstance(source, str) and scheme_of(source) is not None:
        return
    with user_input():
        given = local_path(source)
    if same_file(path, given):
        raise Problem(f"{path} is the source itself; name another file for the result")
    if given.is_dir() and path.suffix.lower() in IMAGE_SUFFIXES and same_file(path.parent, given):
        raise Problem(f"{path} would be an image of the source {source}; name a file elsewhere for the result")
    if given.is_dir() and path.is_file():
        size = path.stat().st_size  # the same file by another name has the same
        if any(image.stat().st_size == size and same_file(path, image) for image in image_files(given)):
            raise Problem(f"{path} is an image of the source {source}; name another file for the result")


def require_new(folder: Path, option: str) -> None:
    """Raises a :class:`Problem` unless the folder that an option names is new or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Problem(f"{option} {folder} is not an empty folder; name a new one")


def may_be_replaced(path: Path, ours: Callable[[Path], bool], what: str) -> None:
    """Raises a :class:`Problem` for a file that is not empty and not of metatrack: it was meant as something else."""
    if path.is_file() and path.stat().st_size and not ours(path):
        raise Problem(f"{path} exists and is no {what} that metatrack wrote; name another file for the results, or delete it")


def _is_table(table: Path) -> bool:
    heads = [",".join(header).encode() for header in (HEADER, HEADER_WITH_IDS)]
    with table.open("rb") as file:
        begin = file.readline(1000).strip()
    return any(begin == head or begin.startswith(head + b",") for head in heads)
