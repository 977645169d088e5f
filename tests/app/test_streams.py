"""Standard streams that whoever starts the command has closed."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from metatrack.video import read_boxes
from tests.app.test_cli import DEMO, MODEL

posix = pytest.mark.skipif(sys.platform == "win32", reason="closing a stream is the shell's, and cmd has no way to")


@posix
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_end_a_run_nor_get_into_its_table(tmp_path: Path, closed: str) -> None:
    table = tmp_path / "boxes.csv"
    words = [sys.executable, "-m", "metatrack", "track", str(DEMO), "--box", "185,120,69,87", "--end", "3", "--model", MODEL]
    done = subprocess.run(["/bin/sh", "-c", f"{shlex.join([*words, '--boxes', str(table)])} {closed}"], check=False)
    assert done.returncode == 0
    assert [row.frame for row in read_boxes(table)] == [0, 1, 2]


@posix
def test_an_error_has_its_code_without_anywhere_to_say_it(tmp_path: Path) -> None:
    words = shlex.join([sys.executable, "-m", "metatrack", "track", str(tmp_path / "none.mp4"), "--box", "1,2,3,4"])
    assert subprocess.run(["/bin/sh", "-c", f"{words} >&- 2>&-"], check=False).returncode == 2


@posix
def test_a_table_on_a_closed_stream_goes_nowhere(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "metatrack", "track", str(DEMO), "--box", "185,120,69,87", "--end", "2", "--model", MODEL]
    done = subprocess.run(
        ["/bin/sh", "-c", f"{shlex.join([*words, '--boxes', '-'])} >&-"], stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
