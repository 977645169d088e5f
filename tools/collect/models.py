"""3D models out of mirrored repositories, packed for ``metatrack data render``.

``python -m tools.collect.models --mirror DIR --out DIR [--only SOURCE ...]`` packs the sources in ``models.toml``
beside what is in the folder already; a source that is packed again replaces its models.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path, PurePosixPath

import msgspec
import tyro

from metatrack.data.render import pack
from metatrack.files import inside
from tools.collect.sources import CollectOptions, Repository, make_all, read_sources

TABLE = Path(__file__).with_name("models.toml")
FILES = (".obj", ".mtl", ".glb", ".png", ".jpg", ".jpeg")


class ModelSource(msgspec.Struct, forbid_unknown_fields=True):
    """A repository of models."""

    repository: str
    commit: str
    licence: str
    folders: list[str]
    figures: bool = False
    needs: str = ""


def main(options: CollectOptions) -> int:
    """Packs the sources; returns the exit code."""

    def make(name: str, source: ModelSource) -> str:
        repository = Repository(options.mirror, source.repository, source.commit)
        with tempfile.TemporaryDirectory() as work:
            folders = [unpack(repository, folder, Path(work), source.needs) for folder in source.folders]
            rows = pack(folders, options.out, name, source.licence, figures=source.figures)
        return f"{sum(row.file is not None for row in rows)} of {len(rows)} models; {source.licence}"

    return make_all(read_sources(TABLE, ModelSource, options.only), make)


def unpack(repository: Repository, folder: str, out: Path, needs: str) -> Path:
    """Writes the files of models below a folder of the repository, a ``FileNotFoundError`` where there is none.

    With ``needs``, of folders that hold such a file alone.
    """
    wanted = [path for path, size in repository.files.items() if path.startswith(f"{folder}/") and size >= 0]
    if not wanted:
        raise FileNotFoundError(f"{folder} is not in the repository, or none of its contents are in the mirror")
    whole = {str(PurePosixPath(path).parent) for path in wanted if needs in PurePosixPath(path).name}
    for path in wanted:
        pure = PurePosixPath(path)
        if pure.suffix.lower() in FILES and str(pure.parent) in whole and not pure.stem.startswith("collision"):
            target = inside(out, path, TABLE)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(repository.read(path))
    return out / folder


if __name__ == "__main__":
    sys.exit(main(tyro.cli(CollectOptions, description=__doc__)))
