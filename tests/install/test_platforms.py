"""What other systems lack or do otherwise, taken away or forced here: the rest is said in docs/platforms.md."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from metatrack.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]

WITHOUT_POSIX = """
import os, signal, sys, types

# The standard library has chosen its ways before they are taken from the package: it has others on Windows.
import asyncio, multiprocessing.connection, multiprocessing.context, multiprocessing.pool, multiprocessing.popen_spawn_posix
import getpass, pathlib, shutil, subprocess, tarfile, tempfile, threading, zipfile
import fcntl

LOCKING = fcntl.flock, fcntl.LOCK_EX | fcntl.LOCK_NB


def locking(descriptor, mode, count):
    assert mode == 2 and count == 1
    try:
        LOCKING[0](descriptor, LOCKING[1])
    except BlockingIOError as error:
        raise PermissionError(error.errno, "Permission denied") from error
    with open(os.environ["LOCKED"], "a") as file:
        file.write("locked\\n")


for name in ("fcntl", "resource", "pwd", "grp", "termios", "pty"):
    sys.modules[name] = None
for name in ("fork", "forkpty", "setsid", "killpg", "getpgid", "getuid", "geteuid", "sched_getaffinity", "register_at_fork"):
    if hasattr(os, name):
        delattr(os, name)
if hasattr(os, "process_cpu_count"):  # from 3.13 on it asks sched_getaffinity, where there is one
    os.process_cpu_count = os.cpu_count
for name in ("SIGHUP", "SIGUSR1", "pthread_sigmask", "setitimer", "alarm"):
    if hasattr(signal, name):
        delattr(signal, name)
sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=2)
"""
"""Run as sitecustomize by every Python of the test, workers included. Files that are open can be replaced and removed here, and
not on Windows: that is not simulated."""


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "COLUMNS": "100", "PYTHONPATH": str(ROOT / "src"), **more}


def smoke(env: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    code = "import pathlib, smoke; smoke.smoke(pathlib.Path.cwd())"
    env["PYTHONPATH"] += os.pathsep + str(ROOT / "tools")
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="is Windows")
def test_without_fork_and_posix_locks(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(WITHOUT_POSIX, encoding="utf-8")
    (tmp_path / "work").mkdir()
    env = environment(LOCKED=str(tmp_path / "locked"))
    env["PYTHONPATH"] = f"{tmp_path / 'site'}{os.pathsep}{env['PYTHONPATH']}"
    done = smoke(env, tmp_path / "work")
    assert done.returncode == 0, done.stderr
    assert set((tmp_path / "locked").read_text().split()) == {"locked"}  # claims were made Windows' way


@pytest.mark.slow
def test_a_system_that_speaks_ascii_alone(tmp_path: Path) -> None:
    done = smoke(environment(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"), tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("command", ["", *(name for name, command in COMMANDS.items() if command.extra is None)])
def test_help_on_a_console_of_another_alphabet(command: str, encoding: str) -> None:
    words = [sys.executable, "-m", "metatrack", *command.split(), "--help"]
    done = subprocess.run(words, env=environment(PYTHONIOENCODING=encoding), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr and done.stdout.decode(encoding)


def test_a_name_outside_of_the_consoles_alphabet_is_named_in_the_error(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "metatrack", "track", str(tmp_path / "video-\N{SNOWMAN}.mp4"), "--box", "1,2,3,4"]
    done = subprocess.run(words, env=environment(PYTHONIOENCODING="ascii:strict"), capture_output=True, check=False)
    assert done.returncode == 2 and b"video-\\u2603.mp4" in done.stderr.replace(b"\n", b"")
