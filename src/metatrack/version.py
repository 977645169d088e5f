"""Which code runs."""

from __future__ import annotations

import shutil
import subprocess  # noqa: S404 - git is a program; no shell is involved
from pathlib import Path
from typing import NamedTuple

from metatrack import __version__


class Commit(NamedTuple):
    """A commit of this repository."""

    sha: str  # 40 hexadecimal digits
    changed: bool  # whether tracked files differ from it


def current_commit() -> Commit | None:
    """The commit of the code that runs; None where there is no git or no repository."""
    sha = _git("rev-parse", "HEAD")
    return Commit(sha, bool(_git("status", "--porcelain", "--untracked-files=no"))) if sha else None


def code_version() -> str:
    """The commit, for the model's card; the package's version where there is no repository."""
    return _git("rev-parse", "HEAD") or f"metatrack {__version__}"


def _git(*arguments: str) -> str:
    program = shutil.which("git")
    if program is None:
        return ""
    command = [program, "-C", str(Path(__file__).parent), *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed commands
    return answer.stdout.strip() if answer.returncode == 0 else ""
