"""A project's boxes as files, in every format of :mod:`metatrack.convert`."""

from __future__ import annotations

import io
import re
import tempfile
import zipfile
from pathlib import Path

from metatrack.convert.formats import FORMATS
from metatrack.convert.tracks import Mark, Track, Tracks, Video
from metatrack.files import natural_order
from metatrack.geometry import Box
from metatrack.web.store import ABSENT, KEY, Project, ProjectStore, Refused, StoredBox


def suffix_of(name: str) -> str:
    """Of the file that an export in a format is; what is a folder is packed."""
    return ".zip" if _is_folder(name) else FORMATS[name].suffixes[0]


def _is_folder(name: str) -> bool:
    """Whether a format is exported as a folder: one of single targets too, since a project may have several."""
    return FORMATS[name].folder or FORMATS[name].single


def tracks_of(store: ProjectStore, project: Project) -> Tracks:
    """A project's boxes: targets by their names (with their ids, where two have one name), key frames and absences kept."""
    targets = store.targets(project.id)
    given = [each.name for each in targets]
    tracks = []
    for each in targets:
        name: int | str = each.name if given.count(each.name) == 1 else f"{each.name} ({each.id})"
        if each.name == f"target {each.id}":  # nobody has given it a name
            name = each.id
        marks = tuple(_mark(row) for row in store.rows(project.id, each.id))
        tracks.append(Track(name, marks))
    plain = re.sub(r"[^A-Za-z0-9_.+-]+", "_", Path(project.name).stem) or "video"
    return Tracks(tuple(tracks), Video((project.width, project.height), project.fps, project.frames, plain))


def _mark(row: StoredBox) -> Mark:
    outside = row.kind == ABSENT
    box = Box(0.0, 0.0, 0.0, 0.0) if outside else Box(row.x, row.y, row.w, row.h)
    return Mark(
        row.frame, box, None if outside else row.score, bool(row.lost), outside=outside, keyframe=row.kind in (KEY, ABSENT)
    )


def export(name: str, store: ProjectStore, project: Project) -> bytes:
    """A project's boxes in a format; :class:`Refused` where it cannot hold them, or needs a package that is not there."""
    tracks = tracks_of(store, project)
    if not any(track.marks for track in tracks.targets):
        raise Refused("there are no boxes yet; draw one first")
    with tempfile.TemporaryDirectory(prefix="metatrack-") as folder:
        path = Path(folder) / f"{tracks.video.name}{'' if _is_folder(name) else suffix_of(name)}"
        try:
            FORMATS[name].write(path, tracks)
        except (ValueError, ModuleNotFoundError) as error:
            raise Refused(f"{FORMATS[name].title}: {error}".replace(f"{path}: ", "").replace(str(path), "it")) from error
        return path.read_bytes() if path.is_file() else _packed(path)


def _packed(folder: Path) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(folder.rglob("*"), key=lambda each: natural_order(str(each))):
            packed.write(path, path.relative_to(folder.parent))
    return data.getvalue()
