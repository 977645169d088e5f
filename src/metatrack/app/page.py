"""``metatrack app``: a page in the browser, on which boxes are drawn, tracked, corrected and exported."""

from __future__ import annotations

import os
import socket
import sys
import webbrowser
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
import uvicorn

from metatrack.app.drawing import has_browser
from metatrack.app.problem import Problem, user_input
from metatrack.claims import claim
from metatrack.convert.tracks import Tracks
from metatrack.web.exports import tracks_of
from metatrack.web.projects import Studio
from metatrack.web.security import Gate
from metatrack.web.server import UPLOAD, make_app
from metatrack.web.settings import Limits
from metatrack.web.store import TOKEN_SECONDS, ProjectStore

LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class PageOptions(Limits):
    """Opens a page in your browser: draw boxes on a video, track, correct, export.

    The page is for you alone: it listens on this machine, and the address that is printed opens one browser, once. Run the
    command again for another one. Projects are kept, whatever ends the browser or the server.
    """

    videos: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="VIDEO")] = ()
    """Videos (or folders of images) to open; others can be dropped on the page."""
    folder: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where projects are kept; by default in your own data folder."""
    browser: bool = True
    """Open the page in a browser, where there is one."""
    host: str = "127.0.0.1"
    """Address to listen on. Any other than 127.0.0.1 shows your videos to your network, unencrypted."""
    port: int = 8765
    """Port to listen on; 0 takes any that is free."""
    allow_host: tyro.conf.UseAppendAction[Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")]] = ()
    """A further name by which browsers may call this server, box.local say."""


def data_folder() -> Path:
    """Where a user's programs keep what they make."""
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "metatrack"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "metatrack"
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "metatrack"


def draw_on_page(source: str, wanted: bool) -> tuple[Path, Tracks] | None:
    """Opens the page on a video that has no box yet, until it is ended.

    Args:
        source: the video.
        wanted: whether the command is to write anything; then it goes on with the boxes that were drawn.

    Returns:
        What stands on the page, with a name for messages; None where nothing is wanted: the page has what was tracked on it.

    Raises:
        Problem: nothing was drawn, or see :func:`run`.
    """
    then = (
        "; press Ctrl-C here when the boxes are drawn: what you asked for is then written" if wanted else ", and press Forwards"
    )
    print(f"no box: draw one on {source} in your browser{then}", file=sys.stderr)
    options = PageOptions(videos=(Path(source),), port=0)
    run(options)
    if not wanted:
        return None
    store = ProjectStore(options.folder or data_folder())
    path = str(Path(source).resolve())
    tracks = next(tracks_of(store, project) for project in store.projects() if project.source == path)
    store.close()
    if not any(track.visible for track in tracks.targets):
        raise Problem(f"no box was drawn on {source}; start again, and drag one around the target")
    return Path("drawn on the page"), tracks


def run(options: PageOptions) -> int:
    """Runs the command until Ctrl-C; returns the exit code."""
    for path in options.videos:
        if not path.exists():
            raise Problem(f"{path} does not exist; pass a video file, or a folder of images")
    folder = options.folder or data_folder()
    with user_input():
        folder.mkdir(parents=True, exist_ok=True)
    with claim(folder / "server.lock") as ours:
        if not ours:
            return _beside(options, folder)
        listening = _listen(options.host, options.port)
        with user_input():
            studio = Studio(folder, options)
        try:
            with user_input():
                opened = [studio.add_path(path).id for path in options.videos]
        except BaseException:
            studio.close()
            raise
        port = listening.getsockname()[1]
        shown = f"[{options.host}]" if ":" in options.host else options.host
        studio.store.fact("address", f"http://{'127.0.0.1' if options.host == '0.0.0.0' else shown}:{port}")  # noqa: S104
        hosts = {f"{name}:{port}" for name in (*LOCAL[:2], "[::1]", shown, *options.allow_host)} | set(options.allow_host)
        _announce(studio.store, opened, options.browser)
        print(f"{'projects':<9}{folder}\n{'':<9}Ctrl-C ends the server; nothing is lost.", flush=True)
        gate = Gate(make_app(studio), studio.store, hosts, UPLOAD)
        config = uvicorn.Config(
            gate, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=2, lifespan="on"
        )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run([listening])
    return 0


def _beside(options: PageOptions, folder: Path) -> int:
    """A server runs already: a new address for it, and the videos into its projects."""
    if options.videos:
        raise Problem(
            f"metatrack app runs already with the projects of {folder}: drop {options.videos[0]} on its page, end it first"
            " (Ctrl-C), or pass another --folder and --port 0"
        )
    store = ProjectStore(folder)
    address = store.fact("address")
    if address is None:
        raise Problem(f"another metatrack app is starting with the projects of {folder}; wait a moment, or pass another --folder")
    print(f"metatrack app runs already with the projects of {folder}.")
    _announce(store, [], options.browser)
    store.close()
    return 0


def _announce(store: ProjectStore, opened: list[str], browser: bool) -> None:
    token = store.give_key("token", TOKEN_SECONDS)
    where = f"&project={opened[0]}" if opened else ""
    address = f"{store.fact('address')}/?token={token}{where}"
    print(f"{'open':<9}{address}", flush=True)
    if browser and has_browser():
        webbrowser.open(address)


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if sys.platform != "win32":  # there it would let two servers share the port
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)  # who comes before the server is up waits
    except (OSError, OverflowError) as error:
        listening.close()
        raise Problem(f"cannot listen on {host}, port {port} ({error}); pass --port 0 for any port that is free") from error
    return listening
