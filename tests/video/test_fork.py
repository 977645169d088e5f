"""A source that was opened before its process forked says so in the child, and stays whole in the parent."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")

SCRIPT = """
import gc, os
from importlib.resources import files
from metatrack import SourceError, open_source
source = open_source(str(files("metatrack") / "assets" / "demo.mp4"), end=12)
next(source)
child = os.fork()
if child == 0:
    status = 1
    try:
        next(source)
    except SourceError as error:
        status = 0 if "opened before the process forked" in str(error) else 2
    source.close()
    with open_source(str(files("metatrack") / "assets" / "demo.mp4"), end=3) as own:
        status += 10 * (len(list(own)) != 3)
    del source
    gc.collect()
    os._exit(status)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(list(source)))
"""


def test_in_the_child_and_in_the_parent() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=600, check=False)  # noqa: S603
    assert done.stdout.split() == ["0", "11"], done.stderr


EXITS = """
import os, sys, time
from importlib.resources import files
from metatrack import open_source
clip = str(files("metatrack") / "assets" / "demo.mp4")
if sys.argv[1] == "closed":
    with open_source(clip, end=4) as source:
        frames = list(source)
else:
    source = open_source(clip, end=12)
    next(source)
child = os.fork()
if child == 0:
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("state", ["open", "closed"])
def test_a_child_that_ends_as_any_program_does(state: str) -> None:
    """At its exit Python frees everything, decoders among it, whose threads are the parent's."""
    words = [sys.executable, "-c", EXITS, state]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)  # noqa: S603
    assert done.stdout == "7\n", done.stderr
