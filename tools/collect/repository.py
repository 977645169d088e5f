"""Files of the newest commit of a repository that was mirrored as a bare git directory, read without a checkout."""

from __future__ import annotations

import shutil
import subprocess  # noqa: S404 - git is a program; no shell is involved
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from metatrack.arrays import UInt8

LFS = b"version https://git-lfs"
"""How a file begins that is kept elsewhere."""


class Repository:
    """A mirrored repository; to be used in a ``with`` block, which ends its git process.

    Args:
        mirror: folder of the mirrors; this one is ``<mirror>/<owner>+<name>/repo``.
        name: ``owner/name``.

    Raises:
        FileNotFoundError: there is no such mirror, or no git.
        subprocess.CalledProcessError: it is none.
    """

    def __init__(self, mirror: Path, name: str) -> None:
        folder = mirror / name.replace("/", "+") / "repo"
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is missing: mirror https://github.com/{name} there (git clone --mirror)")
        program = shutil.which("git")
        if program is None:
            raise FileNotFoundError("git is not installed")
        self.name = name
        self._git = [program, f"--git-dir={folder / '.git' if (folder / '.git').is_dir() else folder}"]
        self.commit = self._ask("rev-parse", "HEAD").decode().strip()
        self.files: dict[str, int] = {}
        """Sizes in bytes, by path."""
        self.absent: set[str] = set()
        """Paths whose contents were left out of the mirror."""
        self._blobs: dict[str, str] = {}
        for record in self._ask("ls-tree", "-r", "-l", "-z", "HEAD").decode("utf8", "replace").split("\0"):
            if record:
                facts, path = record.split("\t", 1)
                _, kind, blob, size = facts.split()
                self._blobs[path] = blob
                if kind == "blob" and size.isdigit():
                    self.files[path] = int(size)
                else:
                    self.absent.add(path)
        self._reader: subprocess.Popen[bytes] | None = None

    def _ask(self, *words: str) -> bytes:
        return subprocess.run([*self._git, *words], stdout=subprocess.PIPE, check=True).stdout  # noqa: S603 - fixed commands

    def read(self, path: str) -> bytes:
        """The contents of a file; nothing if they were left out of the mirror."""
        if self._reader is None:
            command = [*self._git, "cat-file", "--batch"]
            self._reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - fixed
        to, back = self._reader.stdin, self._reader.stdout
        if to is None or back is None:
            raise RuntimeError("git was started without pipes")
        to.write(self._blobs[path].encode() + b"\n")
        to.flush()
        head = back.readline().split()
        if len(head) != 3:
            return b""
        data = back.read(int(head[2]))
        back.read(1)
        return data

    def text(self, path: str) -> str:
        """The contents of a file as text."""
        return self.read(path).decode("utf8", "replace")

    def image(self, path: str, flags: int) -> UInt8 | None:
        """An image, ``(H, W, 3)`` BGR or as ``flags`` (of ``cv2.imdecode``) say; None if there is none in the file."""
        data = self.read(path)
        if not data or (len(data) < 1000 and data.startswith(LFS)):
            return None
        image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        return None if image is None else np.asarray(image, np.uint8)

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._reader is not None:
            self._reader.communicate()
