"""Projects on disk: a video, its targets, their boxes, and what can be undone. SQLite, one transaction for each action.

What was committed survives the end of the process, however it ends; nothing is shown before it is committed. A box is a row
``(target, frame, kind, x, y, w, h, score, lost)`` in pixels, 0-based, top-left. Kinds: a box that was tracked, a *key frame* that
a person drew, and *absent*, where a person says that the target is not visible.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from metatrack.video.overlay import COLORS

TRACKED, KEY, ABSENT = 1, 2, 3
"""Kinds of rows; 0 is none."""
MOST_ACTIONS = 100  # of a project that can be undone
SESSION_SECONDS = 30 * 24 * 3600.0
"""For so long a browser that was let in stays in."""
TOKEN_SECONDS = 24 * 3600.0
"""For so long an address that was printed can be used."""

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS projects(
    id TEXT PRIMARY KEY, name TEXT, source TEXT, uploaded INTEGER, frames INTEGER, width INTEGER, height INTEGER,
    fps REAL, seconds REAL, created REAL);
CREATE TABLE IF NOT EXISTS targets(
    project TEXT, id INTEGER, name TEXT, color TEXT, hidden INTEGER, PRIMARY KEY(project, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS boxes(
    project TEXT, target INTEGER, frame INTEGER, kind INTEGER, x REAL, y REAL, w REAL, h REAL, score REAL, lost INTEGER,
    PRIMARY KEY(project, target, frame)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS actions(id INTEGER PRIMARY KEY, project TEXT, label TEXT, undone INTEGER);
CREATE TABLE IF NOT EXISTS box_changes(
    action INTEGER, side INTEGER, target INTEGER, frame INTEGER, kind INTEGER, x REAL, y REAL, w REAL, h REAL, score REAL,
    lost INTEGER, PRIMARY KEY(action, side, target, frame)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS target_changes(
    action INTEGER, side INTEGER, id INTEGER, name TEXT, color TEXT, hidden INTEGER, PRIMARY KEY(action, side, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys(hash TEXT PRIMARY KEY, kind TEXT, expires REAL);
CREATE TABLE IF NOT EXISTS facts(name TEXT PRIMARY KEY, value TEXT);
"""
BEFORE, AFTER = 0, 1
ROW = "target, frame, kind, x, y, w, h, score, lost"


class StoredBox(NamedTuple):
    """A row of the table of boxes; ``kind`` 0 says that there is none any more."""

    target: int
    frame: int
    kind: int
    x: float = 0.0
    y: float = 0.0
    w: float = 0.0
    h: float = 0.0
    score: float = 0.0
    lost: int = 0


class StoredTarget(NamedTuple):
    """A target; its colour is ``#rrggbb``."""

    id: int
    name: str
    color: str
    hidden: bool


@dataclass(frozen=True)
class Project:
    """A video and what is known of it; ``uploaded``: its file is ours, and goes with the project."""

    id: str
    name: str
    source: str
    uploaded: bool
    frames: int
    width: int
    height: int
    fps: float | None
    seconds: float | None
    created: float

    def require_frame(self, number: int) -> None:
        """Raises :class:`Refused` for a number that no frame of the video has."""
        if number >= self.frames:
            raise Refused(f"there is no frame {number}; this video has frames 0 to {self.frames - 1}")


class Missing(LookupError):  # noqa: N818 - as LookupError
    """There is no such project, target or action; the message says so."""


class Refused(ValueError):  # noqa: N818 - an answer, not an error
    """What was asked for cannot be done; the message says why, and what to do."""


class ProjectStore:
    """The projects in a folder, for any number of threads."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.uploads = folder, folder / "videos"
        self.uploads.mkdir(exist_ok=True)
        self._lock = threading.RLock()
        self._db = sqlite3.connect(folder / "projects.sqlite", check_same_thread=False, isolation_level=None, timeout=30.0)
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it, or nothing."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _all(self, query: str, *values: object) -> list[tuple[object, ...]]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    # --- projects

    def projects(self) -> list[Project]:
        """All projects, the newest first."""
        return [_project(row) for row in self._all("SELECT * FROM projects ORDER BY created DESC, rowid DESC")]

    def project(self, project: str) -> Project:
        """A project by its id."""
        rows = self._all("SELECT * FROM projects WHERE id = ?", project)
        if not rows:
            raise Missing("there is no such project; it may have been deleted in another window. Go back to the list")
        return _project(rows[0])

    def add_project(self, name: str, source: str, uploaded: bool, frames: int, size: tuple[int, int], fps: float | None,
                    seconds: float | None) -> Project:  # fmt: skip
        """Keeps a new project, and gives it a random id."""
        made = Project(new_id(), name, source, uploaded, frames, *size, fps, seconds, time.time())
        with self._change() as db:
            db.execute("INSERT INTO projects VALUES (?,?,?,?,?,?,?,?,?,?)", tuple(vars(made).values()))
        return made

    def update_project(self, project: str, **values: object) -> Project:
        """Changes columns of a project: its name, or what is known of its video."""
        self.project(project)
        with self._change() as db:
            for name, value in values.items():
                db.execute(f"UPDATE projects SET {name} = ? WHERE id = ?", (value, project))  # noqa: S608 - a name of ours
        return self.project(project)

    def delete_project(self, project: str) -> None:
        """Forgets a project, and deletes its video if that was uploaded; a video of the user's stays."""
        found = self.project(project)
        with self._change() as db:
            actions = "(SELECT id FROM actions WHERE project = ?)"
            for table in ("box_changes", "target_changes"):
                db.execute(f"DELETE FROM {table} WHERE action IN {actions}", (project,))  # noqa: S608 - names of ours
            for table, column in (("actions", "project"), ("boxes", "project"), ("targets", "project"), ("projects", "id")):
                db.execute(f"DELETE FROM {table} WHERE {column} = ?", (project,))  # noqa: S608 - names of ours
        if found.uploaded:
            Path(found.source).unlink(missing_ok=True)

    # --- targets and boxes

    def targets(self, project: str) -> list[StoredTarget]:
        """A project's targets, in the order in which they were made."""
        rows = self._all("SELECT id, name, color, hidden FROM targets WHERE project = ? ORDER BY id", project)
        return [StoredTarget(row[0], row[1], row[2], bool(row[3])) for row in rows]  # type: ignore[arg-type]

    def target(self, project: str, target: int) -> StoredTarget:
        """One target."""
        for each in self.targets(project):
            if each.id == target:
                return each
        raise Missing("there is no such target; it may have been deleted. Reload the page")

    def rows(self, project: str, target: int | None = None) -> list[StoredBox]:
        """The rows of one target or of all, by target and frame."""
        one, values = ("", ()) if target is None else (" AND target = ?", (target,))
        query = f"SELECT {ROW} FROM boxes WHERE project = ?{one} ORDER BY target, frame"  # noqa: S608 - names of ours
        return [StoredBox(*row) for row in self._all(query, project, *values)]  # type: ignore[arg-type]

    def add_target(self, project: str, row: StoredBox, name: str | None, color: str | None) -> int:
        """A new target with its first key frame; ``row.target`` is not looked at. Returns its id."""
        with self._change() as db:
            used = db.execute(
                "SELECT max(id) FROM (SELECT id FROM targets WHERE project = ?1 UNION ALL SELECT c.id FROM target_changes c"
                " JOIN actions a ON a.id = c.action WHERE a.project = ?1 AND NOT a.undone)",
                (project,),
            ).fetchone()[0]
            target = (used or 0) + 1
            shade = color or "#{:02x}{:02x}{:02x}".format(*COLORS[(target - 1) % len(COLORS)])
            action = self._begin(db, project, f"draw {name or f'target {target}'}")
            self._set_target(db, project, action, StoredTarget(target, name or f"target {target}", shade, False))
            self._set_rows(db, project, action, [row._replace(target=target)])
        return target

    def change_target(self, project: str, target: StoredTarget, label: str) -> None:
        """Another name, colour or visibility."""
        self.target(project, target.id)
        with self._change() as db:
            self._set_target(db, project, self._begin(db, project, label), target)

    def delete_target(self, project: str, target: int) -> list[StoredBox]:
        """Deletes a target with its boxes; returns the rows that are gone."""
        name = self.target(project, target).name
        with self._change() as db:
            action = self._begin(db, project, f"delete {name}")
            gone = self._clear(db, project, action, target, 0, 1 << 60)
            db.execute(
                "INSERT INTO target_changes SELECT ?, 0, id, name, color, hidden FROM targets WHERE project = ? AND id = ?",
                (action, project, target),
            )
            db.execute("DELETE FROM targets WHERE project = ? AND id = ?", (project, target))
        return gone

    def set_rows(self, project: str, label: str, rows: Sequence[StoredBox]) -> None:
        """Writes rows over what was there: key frames, or marks that a target is absent."""
        with self._change() as db:
            self._set_rows(db, project, self._begin(db, project, label), rows)

    def clear(self, project: str, target: int, first: int, last: int) -> list[StoredBox]:
        """Deletes a target's rows of a span; returns what is gone, as rows of kind 0."""
        name = self.target(project, target).name
        with self._change() as db:
            action = self._begin(db, project, f"delete frames {first} to {last} of {name}")
            return self._clear(db, project, action, target, first, last)

    def begin_tracking(self, project: str, label: str) -> int:
        """A new action, to which the rows of a tracking belong."""
        with self._change() as db:
            return self._begin(db, project, label)

    def add_tracked(self, project: str, action: int, rows: Sequence[StoredBox]) -> list[StoredBox]:
        """Writes tracked rows, but for frames that a person has said something about; returns those that were written."""
        with self._change() as db:
            free = [row for row in rows if not self._is_said(db, project, row)]
            self._set_rows(db, project, action, free)
        return free

    @staticmethod
    def _is_said(db: sqlite3.Connection, project: str, row: StoredBox) -> bool:
        query = "SELECT 1 FROM boxes WHERE project = ? AND target = ? AND frame = ? AND kind != 1"
        return db.execute(query, (project, row.target, row.frame)).fetchone() is not None

    # --- what can be undone

    def _begin(self, db: sqlite3.Connection, project: str, label: str) -> int:
        """A new action; what was undone cannot be done again from here on."""
        old = [row[0] for row in db.execute(
            "SELECT id FROM actions WHERE project = ?1 AND (undone OR id <= (SELECT id FROM actions WHERE project = ?1"
            " ORDER BY id DESC LIMIT 1 OFFSET ?2))",
            (project, MOST_ACTIONS),
        )]  # fmt: skip
        for action in old:
            for table, column in (("box_changes", "action"), ("target_changes", "action"), ("actions", "id")):
                db.execute(f"DELETE FROM {table} WHERE {column} = ?", (action,))  # noqa: S608 - names of ours
        return int(db.execute("INSERT INTO actions(project, label, undone) VALUES (?, ?, 0)", (project, label)).lastrowid or 0)

    @staticmethod
    def _set_target(db: sqlite3.Connection, project: str, action: int, target: StoredTarget) -> None:
        db.execute(
            "INSERT OR IGNORE INTO target_changes SELECT ?, 0, id, name, color, hidden FROM targets WHERE project = ? AND id = ?",
            (action, project, target.id),
        )
        db.execute("INSERT OR REPLACE INTO targets VALUES (?,?,?,?,?)", (project, *target))
        db.execute("INSERT OR REPLACE INTO target_changes VALUES (?,1,?,?,?,?)", (action, *target))

    @staticmethod
    def _set_rows(db: sqlite3.Connection, project: str, action: int, rows: Iterable[StoredBox]) -> None:
        for row in rows:
            db.execute(
                f"INSERT OR IGNORE INTO box_changes SELECT ?, 0, {ROW} FROM boxes"  # noqa: S608 - names of ours
                " WHERE project = ? AND target = ? AND frame = ?",
                (action, project, row.target, row.frame),
            )
            db.execute("INSERT OR REPLACE INTO boxes VALUES (?,?,?,?,?,?,?,?,?,?)", (project, *row))
            db.execute("INSERT OR REPLACE INTO box_changes VALUES (?,1,?,?,?,?,?,?,?,?,?)", (action, *row))

    @staticmethod
    def _clear(db: sqlite3.Connection, project: str, action: int, target: int, first: int, last: int) -> list[StoredBox]:
        where = "FROM boxes WHERE project = ? AND target = ? AND frame BETWEEN ? AND ?"
        span = (project, target, first, last)
        gone = [StoredBox(target, frame, 0) for (frame,) in db.execute(f"SELECT frame {where}", span)]  # noqa: S608 - names of ours
        db.execute(f"INSERT INTO box_changes SELECT ?, 0, {ROW} {where}", (action, *span))  # noqa: S608 - names of ours
        db.execute(f"DELETE {where}", span)  # noqa: S608 - names of ours
        return gone

    def next_actions(self, project: str) -> tuple[str | None, str | None]:
        """What would be undone next, and what done again."""
        undo = self._all("SELECT label FROM actions WHERE project = ? AND NOT undone ORDER BY id DESC LIMIT 1", project)
        redo = self._all("SELECT label FROM actions WHERE project = ? AND undone ORDER BY id LIMIT 1", project)
        return (str(undo[0][0]) if undo else None), (str(redo[0][0]) if redo else None)

    def undo(self, project: str) -> list[StoredBox]:
        """Takes back the last action; returns the rows that changed."""
        return self._restore(project, BEFORE, "NOT undone ORDER BY id DESC", "there is nothing to undo")

    def redo(self, project: str) -> list[StoredBox]:
        """Does again what was taken back; returns the rows that changed."""
        return self._restore(project, AFTER, "undone ORDER BY id", "there is nothing to redo")

    def _restore(self, project: str, side: int, which: str, none: str) -> list[StoredBox]:
        with self._change() as db:
            found = db.execute(f"SELECT id FROM actions WHERE project = ? AND {which} LIMIT 1", (project,)).fetchone()  # noqa: S608
            if found is None:
                raise Missing(none)
            action = found[0]
            cells = db.execute("SELECT DISTINCT target, frame FROM box_changes WHERE action = ?", (action,)).fetchall()
            db.executemany("DELETE FROM boxes WHERE project = ? AND target = ? AND frame = ?", [(project, *c) for c in cells])
            db.execute(
                f"INSERT INTO boxes SELECT ?, {ROW} FROM box_changes WHERE action = ? AND side = ?",  # noqa: S608 - names of ours
                (project, action, side),
            )
            db.execute("DELETE FROM targets WHERE project = ? AND id IN (SELECT id FROM target_changes WHERE action = ?)",
                       (project, action))  # fmt: skip
            db.execute(
                "INSERT INTO targets SELECT ?, id, name, color, hidden FROM target_changes WHERE action = ? AND side = ?",
                (project, action, side),
            )
            db.execute("UPDATE actions SET undone = ? WHERE id = ?", (1 - side, action))
            now = db.execute(f"SELECT {ROW} FROM box_changes WHERE action = ? AND side = ?", (action, side)).fetchall()  # noqa: S608
        rows = {(row[0], row[1]): StoredBox(*row) for row in now}
        return [rows.get((target, frame), StoredBox(target, frame, 0)) for target, frame in cells]

    # --- who may come in, and where the server is

    def give_key(self, kind: str, seconds: float) -> str:
        """A new secret: a ``token`` for the printed address, or a ``session``. Only its hash is kept."""
        secret = secrets.token_urlsafe(32)
        with self._change() as db:
            db.execute("DELETE FROM keys WHERE expires < ?", (time.time(),))
            db.execute("INSERT INTO keys VALUES (?, ?, ?)", (_hash(secret), kind, time.time() + seconds))
        return secret

    def take_token(self, secret: str) -> bool:
        """Whether a token is good; it is used up by that."""
        with self._change() as db:
            query = "DELETE FROM keys WHERE hash = ? AND kind = 'token' AND expires > ?"
            return db.execute(query, (_hash(secret), time.time())).rowcount == 1

    def is_session(self, secret: str) -> bool:
        """Whether a browser was let in with this secret."""
        query = "SELECT 1 FROM keys WHERE hash = ? AND kind = 'session' AND expires > ?"
        return bool(self._all(query, _hash(secret), time.time()))

    def fact(self, name: str, value: str | None = None) -> str | None:
        """A fact about the server that other processes ask for; a value sets it."""
        if value is not None:
            with self._change() as db:
                db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))
        rows = self._all("SELECT value FROM facts WHERE name = ?", name)
        return str(rows[0][0]) if rows else None


def _project(row: Sequence[object]) -> Project:
    values: list[Any] = list(row)
    values[3] = bool(values[3])
    return Project(*values)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def new_id() -> str:
    """A random name, of letters that any file system takes."""
    return secrets.token_hex(8)
