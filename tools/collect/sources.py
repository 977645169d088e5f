"""Where training material comes from: tables of sources (TOML), and the mirrored repositories that they name."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess  # noqa: S404 - git is a program; no shell is involved
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from metatrack.files import csv_text, write_atomically
from metatrack.frames import as_rgb
from metatrack.geometry import Image
from metatrack.images import ImageError, decode_image

T = TypeVar("T")


@dataclass(frozen=True)
class CollectOptions:
    """Makes the sources of a table."""

    mirror: Path
    """Folder of the mirrored repositories."""
    out: Path
    """Folder of what is made."""
    only: tuple[str, ...] = ()
    """These sources alone."""


def read_sources(path: Path, kind: type[T], only: Sequence[str] = ()) -> dict[str, T]:
    """The sources of a table by name, each a ``kind``, or those named; a ``ValueError`` where one is none, or it is no TOML."""
    try:
        sources = msgspec.toml.decode(path.read_bytes(), type=dict[str, kind])  # type: ignore[valid-type]
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: {error}") from error
    for name in only:
        if name not in sources:
            raise ValueError(f"no source {name!r}; there are {', '.join(sources)}")
    return {name: sources[name] for name in only or sources}


def make_all(sources: Mapping[str, T], make: Callable[[str, T], str]) -> int:
    """Makes each source and says what came of it; 1 if one failed, which the others do not suffer from."""
    status = 0
    for name, source in sources.items():
        try:
            print(f"{name}: {make(name, source)}", flush=True)
        except Exception as error:  # whatever is in a repository of others
            print(f"{name}: failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            status = 1
    return status


def replace_rows(table: Path, columns: list[str], rows: list[list[str]], ours: Callable[[list[str]], bool]) -> None:
    """Writes the rows of one source into a CSV file in place of those that are ``ours``, its older ones."""
    there = list(csv.reader(table.read_text(encoding="utf-8").splitlines()))[1:] if table.exists() else []
    write_atomically(table, csv_text([columns, *(row for row in there if not ours(row)), *rows]))


class Repository:
    """The newest commit of a repository that was mirrored as a git directory, read without a checkout.

    Args:
        mirror: folder of the mirrors; this one is ``<mirror>/<owner>+<name>/repo``.
        name: ``owner/name``.
        commit: that the table states, at least its first digits; where the mirror is at another, a line says so.

    Raises:
        FileNotFoundError: there is no such mirror, or no git.
        subprocess.CalledProcessError: it is none.
    """

    def __init__(self, mirror: Path, name: str, commit: str) -> None:
        folder = mirror / name.replace("/", "+") / "repo"
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is missing: mirror https://github.com/{name} there (git clone --mirror)")
        self._git = [shutil.which("git") or "git", f"--git-dir={folder / '.git' if (folder / '.git').is_dir() else folder}"]
        head = self._ask("rev-parse", "HEAD").decode().strip()
        if not head.startswith(commit):
            print(f"{name}: the mirror is at {head[:12]}, the table at {commit}", file=sys.stderr)
        self._blobs: dict[str, str] = {}
        self.files: dict[str, int] = {}
        """Sizes in bytes, by path; files whose contents were left out of the mirror have -1."""
        for record in self._ask("ls-tree", "-r", "-l", "-z", "HEAD").decode("utf8", "replace").split("\0")[:-1]:
            facts, path = record.split("\t", 1)
            _, _, self._blobs[path], size = facts.split()
            self.files[path] = int(size) if size.isdigit() else -1

    def _ask(self, *words: str) -> bytes:
        return subprocess.run([*self._git, *words], stdout=subprocess.PIPE, check=True).stdout  # noqa: S603 - fixed commands

    def read(self, path: str) -> bytes:
        """The contents of a file; nothing if they were left out of the mirror."""
        return self._ask("cat-file", "blob", self._blobs[path]) if self.files[path] >= 0 else b""

    def contents(self, path: str) -> str:
        """Git's name for the contents of a file, which two files share that are the same."""
        return self._blobs[path]

    def image(self, path: str, upright: bool = True) -> Image | None:
        """The pixels of a file, RGB, turned as its orientation says or as they are stored; None if there is no image in it."""
        try:
            return as_rgb(decode_image(self.read(path), path, upright=upright))
        except (ImageError, TypeError):
            return None

    def pairs(self, pattern: str, other: str) -> Iterator[tuple[re.Match[str], str]]:
        """Paths that are of a pattern, as matches, each with the file that the template ``other`` names, if there is one."""
        for path in self.files:
            if (match := re.fullmatch(pattern, path)) and (beside := match.expand(other)) in self.files:
                yield match, beside
