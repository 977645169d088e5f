"""Claims: of all processes that want to do a piece of work, on this machine or another, one gets it.

A claim is a lock that the operating system holds on an open file (``flock``, or ``msvcrt.locking`` on Windows), not the file's
existence. The difference is what happens when the owner is killed: the system gives the lock back at once, however the process
ended, so there is no such thing as a stale claim, and none of the questions that come with it: how old is too old, is process
4711 on the other machine still alive, and who of two that found it stale may take over. On NFS, Linux hands these locks to
the server; a file system without locks is an error here and not a silent double run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BUSY = "{} is being written by another run; wait for it, or name another place for the result"

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    FAR = 1 << 30
    """A byte that no file of ours has: what is locked on Windows cannot be read by others."""

    def _lock(descriptor: int) -> None:
        place = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        finally:
            os.lseek(descriptor, place, os.SEEK_SET)

else:

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def hold(descriptor: int) -> bool:
    """Locks an open file for its process until it is closed; False, at once, if another holds it.

    Raises:
        OSError: its file system knows no locks.
    """
    try:
        _lock(descriptor)
    except (BlockingIOError, PermissionError):  # the second is Windows'
        return False
    return True


@contextmanager
def claim(path: Path) -> Iterator[bool]:
    """True if the claim is ours until the block ends; False, at once, if another process holds it.

    Args:
        path: the claim's file, which is made, and removed when the block ends. It stays, empty, where the owner was killed.

    Raises:
        OSError: the file cannot be made, or its file system knows no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            ours = hold(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        if not ours:
            os.close(descriptor)
            yield False
            return
        if _is_at(path, descriptor):
            break
        os.close(descriptor)  # the owner has removed the file between our opening and our locking it
    try:
        yield True
    finally:
        # Removed while locked: whoever has it open already finds it gone, above. Windows cannot remove an open file.
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


@contextmanager
def alone(path: Path, what: object) -> Iterator[None]:
    """A claim that must be had: for files and folders that two runs must not write at once.

    Args:
        what: is being written, for the message.

    Raises:
        BlockingIOError: another run is writing there.
        OSError: see there.
    """
    with claim(path) as ours:
        if not ours:
            raise BlockingIOError(BUSY.format(what))
        yield


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        there, ours = os.stat(path), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
