"""A project's boxes as files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from metatrack.geometry import Box
from metatrack.video.sink import BoxWriter
from metatrack.web.store import ABSENT, Project, Row

if TYPE_CHECKING:
    from metatrack.web.projects import Studio


class Format(NamedTuple):
    """What the page shows of a format, and how it is written."""

    title: str
    suffix: str
    write: Callable[[Path, Project, dict[int, str], list[Row]], None]


def _csv(path: Path, project: Project, names: dict[int, str], rows: list[Row]) -> None:
    """Our own table, as ``metatrack track`` writes it; a frame in which a target is absent has no line."""
    with BoxWriter(path, ids=True) as table:
        for row in sorted(rows, key=lambda row: (row.frame, row.target)):
            if row.kind != ABSENT:
                table.write(row.frame, Box(row.x, row.y, row.w, row.h), row.score, bool(row.lost), names[row.target])


FORMATS: dict[str, Format] = {"csv": Format("Table (CSV)", ".csv", _csv)}


def export(name: str, studio: Studio, project: Project) -> bytes:
    """A project's boxes in a format: of all targets, by their names (and their ids, where two have one name)."""
    targets = studio.store.targets(project.id)
    given = [each.name for each in targets]
    names = {each.id: each.name if given.count(each.name) == 1 else f"{each.name} ({each.id})" for each in targets}
    with tempfile.TemporaryDirectory(prefix="metatrack-") as folder:
        path = Path(folder) / f"boxes{FORMATS[name].suffix}"
        FORMATS[name].write(path, project, names, studio.store.rows(project.id))
        return path.read_bytes()
