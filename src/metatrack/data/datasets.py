"""All readers by the names of their data sets."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from metatrack.data import got10k, lasot, nfs, otb, plain, tcolor128, uav123, vot
from metatrack.data.folders import table
from metatrack.data.sequence import Sequence
from metatrack.hints import hint, listed, nearest


class DataSet(NamedTuple):
    """How a data set is read."""

    title: str
    subsets: tuple[str, ...] | None  # names of its lists; None if a subset is a folder inside the root
    read: Callable[[Path, Any, bool, bool], list[Sequence]]  # ``(root, subset, allow_partial, images)`` to its sequences
    source: str  # where to get it


DATA_SETS = {
    "otb": DataSet("OTB-100, OTB-50, OTB-2013", otb.SUBSETS, otb.read_otb, "http://cvlab.hanyang.ac.kr/tracker_benchmark"),
    "got10k": DataSet("GOT-10k", None, got10k.read_got10k, got10k.SOURCE),
    "lasot": DataSet("LaSOT", lasot.SUBSETS, lasot.read_lasot, lasot.SOURCE),
    "uav123": DataSet("UAV123 and UAV20L", uav123.SUBSETS, uav123.read_uav123, uav123.SOURCE),
    "nfs": DataSet("Need for Speed", nfs.SUBSETS, lambda root, rate, partial, _: nfs.read_nfs(root, rate, partial), nfs.SOURCE),
    "tcolor128": DataSet("TColor-128", tcolor128.SUBSETS, tcolor128.read_tcolor128, tcolor128.SOURCE),
    "vot": DataSet("folders of VOT", (), lambda root, _, partial, __: vot.read_vot(root, partial), vot.SOURCE),
    "plain": DataSet("folders of images and boxes", (), lambda root, *_: plain.read_plain(root), plain.LAYOUT),
}
ALIASES = {"tc128": "tcolor128", "templecolor128": "tcolor128", "needforspeed": "nfs", "got": "got10k"}


def data_set(name: str) -> str:
    """The name in :data:`DATA_SETS` that is meant, or a ``ValueError`` that suggests the nearest.

    Case, blanks, dots and hyphens are not minded.

    >>> data_set("GOT-10k")
    'got10k'
    """
    plain_name = re.sub(r"[^a-z0-9]", "", name.lower())
    known = ALIASES.get(plain_name, plain_name)
    if known in DATA_SETS:
        return known
    near = nearest(plain_name, [*DATA_SETS, *ALIASES])
    raise ValueError(f"unknown data set {name!r}; {hint(ALIASES.get(near or '', near or ''), DATA_SETS)}")


def attribute_titles(name: str) -> dict[str, str]:
    """Abbreviation to full name of a data set's attributes, in its own order; empty where they have no other names."""
    home = {"tcolor128": "otb"}.get(name, name)
    return dict(table(home)["attributes"]) if home in ("otb", "lasot", "uav123") else {}


def listed_names(name: str) -> list[str]:
    """Names of all sequences of a data set whose names may continue one another (``car``, ``car_side``); no copy is needed."""
    if name == "otb":
        return [target.name for target in otb.otb_targets()]
    if name == "uav123":
        return [*dict.fromkeys(target for subset in uav123.SUBSETS for target in uav123.uav123_targets(subset))]
    return {"nfs": list(nfs.nfs_frames()), "tcolor128": list(tcolor128.tcolor128_names())}.get(name, [])


def read_dataset(
    name: str, root: Path, subset: str | None = None, allow_partial: bool = False, images: bool = True
) -> list[Sequence]:
    """Reads a local copy of a data set.

    Args:
        name: one of :data:`DATA_SETS`.
        root: folder of the local copy, as the data set's own module describes it.
        subset: name of a list, in any case, or GOT-10k's folder of a split; a list that is named must be there in full.
        allow_partial: read what is there of the named list.
        images: the frames must be there. False reads boxes alone, which is enough to score results: frames that are not there
            have names and cannot be read. NfS, VOT and plain folders need their frames in either case.

    Raises:
        FileNotFoundError: something is missing; the message lists it and says where to get it.
        ValueError: there is no such data set or subset (the nearest is suggested), or a file is damaged.
    """
    known = DATA_SETS[data_set(name)]
    if subset is not None and known.subsets is not None:
        if not known.subsets:
            raise ValueError(f"{name} has no subsets, so {subset!r} cannot be read; leave it out")
        by_case = {each.lower(): each for each in known.subsets}
        near = nearest(subset.lower(), by_case)
        if subset.lower() not in by_case and near:
            raise ValueError(f"unknown subset {subset!r} of {name}; did you mean {by_case[near]!r}?")
        subset = by_case.get(subset.lower(), subset)  # what is like none is refused by the reader, which lists them
    return known.read(Path(root), subset, allow_partial, images)


def only(sequences: list[Sequence], names: str | None, option: str = "--only") -> list[Sequence]:
    """The sequences that an option names, as in ``A,B``, or all; for an unknown name, a ``ValueError`` suggests the nearest."""
    if names is None:
        return sequences
    wanted = listed(names, [sequence.name for sequence in sequences], "sequence", option)
    return [sequence for sequence in sequences if sequence.name in wanted]
