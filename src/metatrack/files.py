"""Files: written in one step, sorted as people count, and never outside the folder that they belong to."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import secrets
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath

from metatrack.arrays import UInt8

WAITS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds between tries to replace a file that somebody on Windows has open; virus scanners and viewers do so for moments."""
LONGEST_NAME = 255  # bytes of a file's name, at most, on the file systems of today


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path``, with the same suffix, that takes its place when the block ends without an error.

    Whoever reads ``path`` sees the old file or the new one, whole, and a killed process leaves the old one. Missing folders are
    made; a link is followed, so that what it points to is replaced. After an error the temporary file is removed.

    Raises:
        OSError: the folder cannot be made or written, or the file cannot be replaced.
    """
    path = Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A random name: two processes on two machines may write the same file at once, and a process id would not tell them apart.
    part = name_beside(path, f".{secrets.token_hex(8)}.part")
    try:
        yield part
        with part.open("r+b") as file:
            os.fsync(file.fileno())
        take_place(part, path)
    except BaseException:
        with suppress(OSError):  # the first error is the one to tell; on Windows the file may still be open
            part.unlink(missing_ok=True)
        raise


def name_beside(path: Path, mark: str, *, hidden: bool = True) -> Path:
    """A name for a file that belongs to another: ``.stem<mark>.suffix`` beside it, cut where it would be too long.

    A stem that is cut is told from others by its hash.

    >>> name_beside(Path("a/boxes.csv"), ".lock").as_posix()
    'a/.boxes.lock.csv'
    """
    begin, stem, suffix = "." if hidden else "", path.stem, path.suffix
    if len(os.fsencode(begin + stem + mark + suffix)) > LONGEST_NAME:
        digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
        stem = f"{os.fsencode(stem)[:100].decode('utf-8', 'ignore')}.{digest}"
        suffix = suffix if len(os.fsencode(suffix)) < 20 else ""
    return path.with_name(f"{begin}{stem}{mark}{suffix}")


def write_atomically(path: str | Path, data: bytes | str | UInt8) -> None:
    """Writes a file in one step (:func:`replacing`); text as UTF-8 with its line ends as they are, arrays as their bytes.

    Raises:
        OSError: the folder cannot be made or written, or the file cannot be replaced.
    """
    content = data.encode() if isinstance(data, str) else data if isinstance(data, bytes) else data.tobytes()
    with replacing(path) as part, part.open("xb") as file:
        file.write(content)


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    r"""Rows as a CSV file has them, the head among them; None is an empty cell.

    >>> csv_text([("name", "score"), ("a, b", None)])
    'name,score\n"a, b",\n'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def take_place(part: Path, path: Path) -> None:
    """``os.replace``, which on Windows fails while anybody has the file or folder open: there it is tried for a second.

    Raises:
        OSError: it failed to the end.
    """
    for wait in WAITS if sys.platform == "win32" else ():
        with suppress(PermissionError):
            os.replace(part, path)
            return
        time.sleep(wait)
    os.replace(part, path)


def require_size(path: Path, most: int, what: str) -> None:
    """Refuses a file from outside that is too large to be what it should be, before it is read.

    Args:
        what: it should be, as in "200 bytes are no such text file".

    Raises:
        OSError: it is not there.
        ValueError: it is too large.
    """
    size = path.stat().st_size
    if size > most:
        raise ValueError(f"{path}: {size} bytes are no {what}; at most {most} are read")


def natural_order(name: str | Path) -> tuple[list[str | int], str]:
    """A key by which names are sorted as people count: numbers by value, case ignored. Of a path, its last part.

    >>> sorted(["10.jpg", "2.jpg", "B1", "a1"], key=natural_order)
    ['2.jpg', '10.jpg', 'a1', 'B1']
    """
    text = name.name if isinstance(name, Path) else name
    # Split at digits, texts and numbers alternate, so only like is compared with like.
    parts = re.split(r"([0-9]+)", text.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], text


def inside(root: str | Path, name: str, source: object = None) -> Path:
    r"""The path of a name that a file states, below a folder; whatever would lead out of the folder is refused.

    Args:
        root: the folder.
        name: relative to it, with ``/`` (or, on Windows, also ``\``) between its parts.
        source: who states the name, for the message: a file, or a file and a line.

    Raises:
        ValueError: the name is empty, holds NUL or ``..``, is absolute or has a drive, or a link leads out of ``root``.

    >>> inside("data", "../secret.jpg", "data/list.txt")
    Traceback (most recent call last):
    ValueError: data/list.txt: '../secret.jpg' leads out of data; only names below that folder are read
    """
    said = f"{source}: " if source is not None else ""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if not name or "\0" in name:
        raise ValueError(f"{said}{name!r} is not the name of a file")
    out = f"{said}{name!r} leads out of {root}; only names below that folder are read"
    if posix.is_absolute() or windows.root or windows.drive or ".." in (*posix.parts, *windows.parts):
        raise ValueError(out)
    path = Path(root) / name
    try:
        real = Path(os.path.realpath(path))
    except (OSError, ValueError) as error:
        raise ValueError(f"{said}{name!r} is not the name of a file ({error})") from error
    if not real.is_relative_to(os.path.realpath(root)):
        raise ValueError(f"{out}: {path} is a link to {real}; copy the files there instead")
    return path


def same_file(a: str | Path | None, b: str | Path | None) -> bool:
    """Whether two paths are one file, by whatever names (links of either kind), or would be."""
    if a is None or b is None:
        return False
    try:
        return os.path.samefile(a, b)
    except (OSError, ValueError):  # one of them is not there
        return os.path.realpath(a) == os.path.realpath(b)


def require_writable(path: str | Path) -> None:
    """Checks, before the work begins, that a file can be written, and changes nothing.

    Raises:
        OSError: its folder does not exist, or cannot be written; or it is a folder itself, or may not be changed.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: the folder {path.parent} does not exist; create it first")
    if path.is_dir():
        raise IsADirectoryError(f"{path} cannot be written: it is a folder; name a file in it")
    if path.is_symlink() and not path.exists():
        raise FileNotFoundError(f"{path} cannot be written: it is a link to {os.readlink(path)}, which does not exist")
    if path.exists() and not path.is_file():
        raise OSError(f"{path} cannot be written: it is a device or a pipe, and would be replaced; name a file")
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(f"{path} cannot be written: it is write-protected; name another file, or allow writing")
    try:
        with tempfile.TemporaryFile(dir=path.parent):  # the one sure way to know
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise PermissionError(f"{path} cannot be written: no file can be made in {path.parent} ({reason})") from error
