"""Ctrl-C while the command is still being imported: a word and an exit code, no traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys
class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupts())
sys.argv = ["metatrack", "track", "none.mp4", "--box", "1,2,3,4"]
from metatrack.start import main
code = main()
print(code)
"""


@pytest.mark.parametrize("module", ["metatrack.cli", "metatrack.app.problem", "metatrack.app.track", "numpy", "tyro"])
def test_while_a_module_is_imported(module: str) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(module=module)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("130\n", "interrupted\n")


def test_little_is_imported_before_it_is_met() -> None:
    """The shorter the way to the first line, the rarer Python's own traceback."""
    code = f"import sys; sys.path[:] = {sys.path!r}; before = set(sys.modules); import metatrack.start; "
    code += "print(*sorted(set(sys.modules) - before - {'__future__'}))"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["metatrack", "metatrack.start"], done.stderr
