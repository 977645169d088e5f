"""A bundle takes the place of an older one: both are whole at any moment, and a folder that holds anything else is left alone."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from metatrack.claims import alone
from metatrack.files import take_place
from metatrack.runtime.bundle import CARD, GRAPHS, OLD, set_aside
from metatrack.typed import read_json

PART = ".part"  # how the name of a bundle in the making ends: ``.NAME.RANDOM.part``, beside its place
LOCK = ".lock"
KNOWN = (CARD, *GRAPHS.values())  # the files of a bundle


def check_replaceable(out: Path) -> None:
    """Refuses a place where there is anything but a bundle, since an export replaces it.

    Raises:
        ValueError: it is a file, or a folder that holds something else than a bundle; the message names it.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"{out} is a file and no model bundle; name a new folder")
    names = sorted(each.name for each in out.iterdir())
    advice = "export would replace the folder: name a new one"
    other = [name for name in names if name not in KNOWN or (out / name).is_dir()]
    if other:
        raise ValueError(f"{out} is there and no model bundle: it holds {', '.join(other[:3])}; {advice}")
    if names and not _is_card(out / CARD):
        raise ValueError(f"{out} is there and no model bundle: it has no {CARD} of one; {advice}")


def _is_card(path: Path) -> bool:
    """Whether a file is a bundle's card, and not what a person wrote for one, which has the same name in our examples."""
    try:
        card = read_json(path, dict[str, object])
    except (OSError, ValueError):
        return False
    return "format" in card and "files" in card


@contextmanager
def replacing_bundle(out: Path) -> Iterator[Path]:
    """A new, empty folder that takes the place of ``out`` when the block ends without an error.

    The old bundle is renamed aside, the new one renamed into its place, and then the old one removed. Where a kill comes between
    the two renames, the next call puts the old one back first, and :func:`metatrack.runtime.bundle.open_bundle` names it.

    Raises:
        BlockingIOError: another process is exporting there.
        ValueError: ``out`` holds something else than a bundle.
        OSError: a folder cannot be made or renamed.
    """
    out = Path(os.path.realpath(out))  # a link stays, and what it leads to is replaced
    out.parent.mkdir(parents=True, exist_ok=True)
    with alone(_beside(out, LOCK), out):
        _clear(out)
        check_replaceable(out)
        made = _beside(out, f".{secrets.token_hex(8)}{PART}")
        made.mkdir()
        try:
            yield made
            check_replaceable(out)  # an export takes minutes
            _swap(made, out)
        finally:
            shutil.rmtree(made, ignore_errors=True)


def _beside(out: Path, end: str) -> Path:
    return out.with_name(f".{out.name}{end}")


def _clear(out: Path) -> None:
    """Puts back, or removes, what killed exports left; nobody else has the claim."""
    aside = set_aside(out)
    if aside and not out.exists():
        take_place(aside.pop(), out)
    for each in list(out.parent.iterdir()):
        left = each.name.startswith(f".{out.name}.") and each.suffix in (PART, OLD) and each.is_dir()
        if left and all(path.name in KNOWN for path in each.iterdir()):
            shutil.rmtree(each, ignore_errors=True)


def _swap(made: Path, out: Path) -> None:
    if not out.exists():
        take_place(made, out)
        return
    aside = _beside(out, f".{secrets.token_hex(8)}{OLD}")
    take_place(out, aside)
    try:
        take_place(made, out)
    except BaseException:
        with suppress(OSError):  # the first error is the one to tell; the next export puts it back
            take_place(aside, out)
        raise
    shutil.rmtree(aside, ignore_errors=True)
