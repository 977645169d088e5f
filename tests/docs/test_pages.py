"""The documentation: each block of Python runs, each command exists with its options, the site builds without a loose end."""

from __future__ import annotations

import io
import re
import shlex
import shutil
import subprocess
import sys
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import pytest

from metatrack.app.unloaded import read_options
from metatrack.cli import COMMANDS
from metatrack.video import VideoWriter, open_source
from tests.conftest import REPOSITORY

PAGES = sorted(path for path in (*(REPOSITORY / "docs").glob("*.md"), REPOSITORY / "README.md"))
NEEDS_MORE = {"adapters.md": "frameworks that are no dependencies; tests/adapters runs the adapters themselves"}
"""Pages whose blocks are compiled alone, and why."""


def blocks(path: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Some frames of the demo clip."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    demo = str(resources.files("metatrack") / "assets" / "demo.mp4")
    with open_source(demo, end=13) as frames, VideoWriter(path, 25.0) as film:
        for frame in frames:
            film.write(frame)
    return path


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_blocks_run(page, clip, tmp_path, monkeypatch) -> None:
    shutil.copy(clip, tmp_path / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    for number, block in enumerate(blocks(page), 1):
        code = compile(block, f"{page.name}, block {number}", "exec")
        if page.name not in NEEDS_MORE:
            exec(code, {"__name__": "__main__"})


def commands(path: Path) -> list[list[str]]:
    """The command lines of indented or fenced blocks that begin with ``metatrack``, continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", path.read_text(encoding="utf-8"))
    found = re.findall(r"^(?: {4}|\$ )(metatrack [^\n#]*)", text, re.MULTILINE)
    return [shlex.split(line.partition("  ")[0].replace("'", "")) for line in found]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_commands_and_options_exist(page) -> None:
    for words in commands(page):
        name = next((" ".join(words[1 : n + 1]) for n in (2, 1) if " ".join(words[1 : n + 1]) in COMMANDS), None)
        assert name is not None or words[1].startswith("-"), f"{page.name}: no command {' '.join(words[:3])!r}"
        if name is None:
            continue
        known = {option.rstrip("_").replace("_", "-") for option in read_options(COMMANDS[name].options)[1]}
        for word in words:
            option = word.removeprefix("--").partition("=")[0].removeprefix("no-")
            if word.startswith("--") and option not in ("help", "version"):
                assert option in known | {"from"}, f"{page.name}: metatrack {name} has no {word}"


@pytest.mark.skipif(find_spec("zensical") is None, reason="needs zensical: pip install 'metatrack[docs]'")
def test_the_site_builds_strictly(tmp_path) -> None:
    for name in ("docs", "src/metatrack", "tools"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "models", "*.onnx"))
    shutil.copy(REPOSITORY / "zensical.toml", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    page = (tmp_path / "site" / "api.html").read_text(encoding="utf-8")
    assert "MultiTracker" in page and ":class:" not in page
