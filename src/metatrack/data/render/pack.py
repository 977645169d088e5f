"""Makes a folder of packed models out of files of many kinds: read once, checked, normalised, with licence and source.

The folder holds ``<name>.npz`` for each usable model (:mod:`.model`) and ``models.json``, a table of all that were looked at:
name, source, licence, and why one was left out.
"""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from metatrack.data.render.gltf import read_figure
from metatrack.data.render.meshes import read_mesh
from metatrack.data.render.model import Mesh, write_model
from metatrack.files import write_atomically
from metatrack.typed import read_json

KINDS = (".obj", ".glb", ".ply")
LICENCES = {
    "Scopia": "CC BY 3.0 (Scopia Visual Interfaces Systems)",
    "BlendSwap-CC-0": "CC0 (eTeks and other contributors)",
    "BlendSwap-CC-BY": "CC BY 3.0 (the BlendSwap contributors)",
    "KatorLegaz": "CC BY 3.0 US (Andrew Kator and Jennifer Legaz)",
    "Reallusion": "CC BY 3.0 US (Reallusion)",
}
"""Of the parts of Debian's sweethome3d-furniture, as its copyright file states them."""
MOST_FACES = 80_000
FLATTEST = (0.12, 0.02)  # least second and third extent of a model, relative to the first: poles and sheets are no targets
NO_OBJECTS = re.compile(
    r"wall|floor|stair|window|door(?!mat)|fence|railing|roof|beam|ceiling|curtain|blind|column|pillar|road|tile|grass|terrain|"
    r"ground$|plane$|collision|plank|carpet|rug|gate|hatch|skylight|shower|kitchenupper|puddle|path|water",
    re.IGNORECASE,
)
"""Names of what belongs to a building or a landscape."""


@dataclass(frozen=True)
class ModelRow:
    """A line of ``models.json``."""

    name: str
    source: str
    licence: str
    file: str | None  # of the packed model, beside the table; None where it was left out
    left_out: str | None  # why
    faces: int = 0
    textured: bool = False
    animated: bool = False


def read_table(folder: Path) -> list[ModelRow]:
    """The table of a folder of packed models; a ``FileNotFoundError`` where there is none, a ``ValueError`` if it is damaged."""
    path = folder / "models.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: {folder} is no folder of packed models; make one with `metatrack data models`"
        )
    return read_json(path, list[ModelRow])


def pack(folders: list[Path], out: Path, source: str, licence: str | None, *, figures: bool = False) -> list[ModelRow]:
    """Packs the models in files below some folders (OBJ, GLB, PLY, and zips of Sweet Home 3D) into ``out``, beside what is there.

    Args:
        folders: searched through.
        out: models of the same source and name are replaced.
        source: a word or a few that name where they come from; it begins the models' names.
        licence: of all of them; None where the folders are Debian's sweethome3d-furniture, whose parts name their own.
        figures: only articulated figures are kept.

    Returns:
        The table's rows of this source.

    Raises:
        FileNotFoundError: a folder does not exist.
        ValueError: no model was found.
    """
    out.mkdir(parents=True, exist_ok=True)
    old = read_table(out) if (out / "models.json").is_file() else []
    rows: dict[str, ModelRow] = {}
    for path, label, terms in _files(folders, licence):
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{source}-{label}")
        if name in rows:
            name = f"{name}-{sum(each.startswith(name) for each in rows)}"
        rows[name] = _packed(path, name, source, terms, out, figures)
    if not rows:
        raise ValueError(f"no {', '.join(KINDS)} or .sh3f file below {', '.join(map(str, folders))}")
    kept = [row for row in old if row.source != source]
    table = sorted([*kept, *rows.values()], key=lambda row: row.name)
    write_atomically(out / "models.json", json.dumps([asdict(row) for row in table], indent=1) + "\n")
    return list(rows.values())


def _files(folders: list[Path], licence: str | None) -> Iterator[tuple[Path, str, str]]:
    """Files of models with a label and a licence, in the order of their names; zips are unpacked while they are read."""
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not a folder")
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in KINDS:
                yield path, "-".join((folder.name, *path.relative_to(folder).with_suffix("").parts)[-2:]), licence or "not stated"
            elif path.suffix.lower() == ".sh3f":
                terms = licence or LICENCES.get(path.stem, "not stated")
                with tempfile.TemporaryDirectory() as name, zipfile.ZipFile(path) as archive:
                    archive.extractall(name)  # noqa: S202 - zipfile keeps its members inside the folder
                    for inner in sorted(Path(name).rglob("*.obj")):
                        yield inner, f"{path.stem}-{inner.stem}", terms


def _packed(path: Path, name: str, source: str, licence: str, out: Path, figures: bool) -> ModelRow:
    """Reads, checks and writes one model."""
    file = out / f"{name}.npz"
    file.unlink(missing_ok=True)

    def refused(why: str) -> ModelRow:
        return ModelRow(name, source, licence, None, why)

    if NO_OBJECTS.search(path.stem):
        return refused("part of a building or a landscape, by its name")
    try:
        figure = read_figure(path, name, source, licence) if path.suffix.lower() == ".glb" else None
        if figures and figure is None:
            return refused("not an articulated figure")
        model = figure or read_mesh(path, name, source, licence)
    except (OSError, ValueError) as error:
        return refused(str(error).replace(str(path), path.name))
    if model is None:
        return refused("nothing solid in it")
    why = _unfit(model)
    if why is not None:
        return refused(why)
    write_model(file, model)
    return ModelRow(name, source, licence, file.name, None, len(model.faces), bool(model.textures), model.skin is not None)


def _unfit(model: Mesh) -> str | None:
    """Why a model is no target, or None."""
    if len(model.faces) > MOST_FACES:
        return f"{len(model.faces)} triangles, more than {MOST_FACES}"
    poses = range(len(model.skin.actions)) if model.skin is not None else range(1)
    if not all(np.isfinite(model.posed(k, 0.5)[0]).all() for k in poses):
        return "its numbers are not finite"
    used = model.positions[np.unique(model.faces)]
    extents = np.sort(np.ptp(used, axis=0))[::-1]
    if extents[1] < FLATTEST[0] * extents[0] or extents[2] < FLATTEST[1] * extents[0]:
        return f"too thin or flat: {extents[0]:.2f} x {extents[1]:.2f} x {extents[2]:.3f}"
    return None
