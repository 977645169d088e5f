"""Tries metatrack's wheel on every Python of this machine: ``make test-all-pythons``.

For each Python from 3.10 to 3.14 that is found: a new environment, the wheel with the newest versions that this Python resolves
to, and ``tools/smoke.py``. Once more on the oldest Python with the oldest versions that pyproject.toml allows. With ``--suite``
the tests that need no torch run there, too. What is not on the machine is said, and is no failure.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
EXTRAS = ("plot", "eval")
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")


def find_python(version: str) -> Path | None:
    """The Python of that version, as ``3.12``: the one that runs this, on the path, of pyenv, of Windows' launcher; or None."""
    places: list[Sequence[str]] = [[sys.executable]]
    places += [[found] for found in [shutil.which(f"python{version}")] if found]
    places += [[str(path)] for path in sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))]
    if launcher := shutil.which("py"):
        places.append([launcher, f"-{version}"])
    ask = "import sys; print(sys.executable if '%d.%d' % sys.version_info[:2] == sys.argv[1] else '')"
    for command in places:
        done = subprocess.run([*command, "-c", ask, version], capture_output=True, text=True, check=False)  # noqa: S603 - Pythons
        if done.returncode == 0 and (answer := done.stdout.strip()):
            return Path(answer)
    return None


def build_wheel(folder: Path) -> Path:
    """Builds the wheel of this checkout.

    Raises:
        RuntimeError: pip cannot.
    """
    run([sys.executable, *PIP, "wheel", "--no-deps", "--wheel-dir", folder, ROOT])
    (wheel,) = folder.glob("metatrack-*.whl")
    return wheel


def make_environment(python: Path, folder: Path, wheel: Path, extras: Sequence[str], oldest: bool = False) -> Path:
    """A virtual environment with the wheel and what it resolves to, or the oldest versions allowed; returns its Python.

    Raises:
        RuntimeError: it cannot be made, or something cannot be installed.
    """
    run([python, "-m", "venv", folder])
    inside = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    wanted: list[str | Path] = [f"{wheel}[{','.join(extras)}]" if extras else wheel]
    if oldest:
        limits = folder / "constraints.txt"
        limits.write_text(run([sys.executable, ROOT / "tools" / "oldest.py", *extras]), encoding="utf-8")
        wanted += ["--constraint", limits]
    run([inside, *PIP, "install", "--only-binary", ":all:", *wanted])
    return inside


def run(command: Sequence[str | Path], folder: Path = ROOT) -> str:
    """Runs a command; returns what it printed.

    Raises:
        RuntimeError: it failed; with the end of its output.
    """
    words = list(map(str, command))
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        raise RuntimeError("\n".join([f"{' '.join(words)}: exit code {done.returncode}", *lines[-40:]]))
    return done.stdout


def try_python(python: Path, folder: Path, wheel: Path, oldest: bool = False, suite: bool = False) -> str:
    """Installs, and runs the smoke and perhaps the tests; returns what they say at last.

    Raises:
        RuntimeError: something failed.
    """
    inside = make_environment(python, folder, wheel, EXTRAS, oldest)
    said = run([inside, ROOT / "tools" / "smoke.py"], folder).strip()
    if suite:
        run([inside, *PIP, "install", f"{wheel}[opencv]", "pytest>=8,<10", "hypothesis>=6,<7"])
        lines = run([inside, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]).splitlines()
        said += "; " + lines[-1]
    return said


def main() -> int:
    """Tries all; returns 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--suite", action="store_true", help="run the tests that need no torch, too (minutes for each Python)")
    parser.add_argument("--only", choices=VERSIONS, action="append", help="this Python; may be repeated")
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="metatrack-pythons-") as name:
        work = Path(name)
        wheel = build_wheel(work)
        found = {version: find_python(version) for version in options.only or VERSIONS}
        there = {version: python for version, python in found.items() if python is not None}
        plan = [(version, python, False) for version, python in there.items()]
        # Newer Pythons have no wheels of versions that are older than they are.
        plan += [(version, python, True) for version, python in there.items() if version == VERSIONS[0]]
        for version in found.keys() - there.keys():
            print(f"Python {version}: not on this machine, not tried")
        for version, python, oldest in plan:
            title = f"Python {version}, {'oldest' if oldest else 'newest'} versions"
            folder = work / f"{version}-{oldest}"
            try:
                print(f"{title}: {try_python(python, folder, wheel, oldest, options.suite and not oldest)}", flush=True)
            except RuntimeError as error:
                failed = 1
                print(f"{title}: FAILED\n{error}", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
