"""``python -m tools.pseudo.finish --out DIR``: of all that was labelled the splits, their tables, and contact sheets.

Faces are splits of their own, ``faces-train`` and ``faces-val``; all else is ``train``. What ``sources.toml`` refuses stays out,
and so do people and faces beyond their caps. The sheets show every trajectory, eight frames each; with ``--all`` those that are
refused too.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import tyro

from metatrack.files import write_atomically
from metatrack.images import write_image
from tools.collect.pictures import sheet
from tools.collect.sources import read_sources, replace_rows
from tools.pseudo.detector import PERSON
from tools.pseudo.faces import FACE
from tools.pseudo.material import TABLE, Source

COLUMNS = ["trajectory", "source", "video", "class", "frames", "licence", "clean"]
SPLITS = ("train", "faces-train", "faces-val")
ROWS = 14
"""Trajectories of a sheet."""


@dataclass(frozen=True)
class FinishOptions:
    """Writes the splits of what was labelled."""

    out: Path
    """Folder that tools.pseudo.make wrote."""
    all: bool = False
    """Show what is refused as well."""


class Trajectory(NamedTuple):
    """What a record says of one."""

    path: str
    """Of its clip."""
    frames: int
    class_: int | None
    """COCO's, where a detector found it, or that of faces."""


def kept(source: Source, names: Mapping[str, Trajectory]) -> dict[str, str]:
    """Classes of the trajectories that stay, by name: all but the refused ones, and people and faces beyond their caps."""
    refused = {name for group in source.refused.values() for name in group}
    found: dict[str, str] = {}
    for name, facts in names.items():
        if name not in refused:
            person = facts.class_ == PERSON or name in source.people
            found[name] = "face" if facts.class_ == FACE else "person" if person else "object"
    beyond: set[str] = set()
    for class_, cap in (("person", source.people_cap), ("face", source.faces_cap)):
        beyond |= set([name for name, its in found.items() if its == class_][cap:])
    return {name: class_ for name, class_ in found.items() if name not in beyond}


def split_of(source: Source, class_: str) -> str:
    """The folder of a trajectory: faces are apart, so that a mix of what there was before there were any stays what it is."""
    return "train" if class_ != "face" else "faces-val" if source.faces_held else "faces-train"


def trajectories(records: Path) -> tuple[dict[str, Trajectory], Counter[str]]:
    """Of a source's records: its trajectories, and how many targets ended in which way."""
    found: dict[str, Trajectory] = {}
    ends: Counter[str] = Counter()
    for path in sorted(records.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        kind = path.name.split(".")[-2]
        ends[{"detected": "clips by a detector", "faces": "clips by a detector of faces"}.get(kind, "clips")] += 1
        ends["seconds"] += round(record["seconds"])
        for target in record["targets"]:
            ends[f"{target['found']}: {target['why'] or 'accepted'}"] += 1
            if "name" in target:
                found[target["name"]] = Trajectory(record["path"], target["frames"], target.get("class"))
    return found, ends


def sheets(folders: list[Path], out: Path, name: str) -> None:
    """Contact sheets of trajectories, ``<name>-<n>.png``, in place of older ones."""
    for old in out.glob(f"{name}-*.png"):
        old.unlink()
    for n in range(0, len(folders), ROWS):
        write_image(out / f"{name}-{n // ROWS}.png", sheet(folders[n : n + ROWS]))


def main(options: FinishOptions) -> None:
    """Writes the splits, ``meta.csv``, ``accepted.csv`` (how the targets of each source ended) and the sheets."""
    everything, ended = options.out / "all", []
    for split in SPLITS:
        (options.out / split).mkdir(exist_ok=True)
    for name, source in read_sources(TABLE, Source).items():
        found, ends = trajectories(options.out / "records" / name)
        classes = kept(source, found)
        splits = {each: split_of(source, class_) for each, class_ in classes.items()}
        for split in SPLITS:
            for folder in (options.out / split).glob(f"{name}_*"):
                if splits.get(folder.name) != split:
                    shutil.rmtree(folder)
        for each, split in splits.items():
            if not (options.out / split / each / "groundtruth.txt").exists():
                shutil.copytree(everything / each, options.out / split / each, dirs_exist_ok=True)
        clean = str(int(source.clean))
        rows = [
            [each, source.repository, found[each].path, class_, str(found[each].frames), source.licence, clean]
            for each, class_ in classes.items()
        ]
        replace_rows(options.out / "meta.csv", COLUMNS, rows, lambda row, own=f"{name}_": row[0].startswith(own))  # type: ignore[misc]
        sheets([everything / each for each in (found if options.all else classes)], options.out / "sheets", name)
        frames = sum(found[each].frames for each in classes)
        print(f"{name}: {ends['clips']} clips, {len(found)} labelled, {len(classes)} kept, {frames} frames")
        ended += [[name, end, str(count)] for end, count in sorted(ends.items())] + [[name, "kept", str(len(classes))]]
    with (options.out / "meta.csv").open(newline="", encoding="utf-8") as file:
        total = list(csv.DictReader(file))
    write_atomically(options.out / "accepted.csv", "".join(",".join(row) + "\n" for row in [["source", "end", "count"], *ended]))
    print(f"in all {len(total)} trajectories, {sum(int(row['frames']) for row in total)} frames")


if __name__ == "__main__":
    main(tyro.cli(FinishOptions))
