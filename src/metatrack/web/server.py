"""The routes. Each is a few lines: what is done stands in :mod:`metatrack.web.projects`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool

from metatrack import __version__
from metatrack.convert.formats import FORMATS
from metatrack.web import bodies
from metatrack.web.bodies import FrameInPath, Identifier, TargetId
from metatrack.web.child import ChildError
from metatrack.web.exports import export, suffix_of
from metatrack.web.jobs import PREVIEW
from metatrack.web.projects import Studio, clean_name
from metatrack.web.store import ABSENT, Missing, Refused, StoredBox, StoredTarget, new_id

PAGE = Path(__file__).parent / "page"
WIDTHS = (0, 320, 640, 960, 1440)  # widths of frames that a page may ask for; few, so that they are found in the cache
UPLOAD = "/api/projects"
SENTENCE: dict[int | str, dict[str, Any]] = {
    code: {"model": bodies.ErrorBody} for code in (400, 401, 403, 404, 409, 413, 421, 422)
}
STATUS: dict[type[Exception], int] = {Missing: 404, Refused: 409, ChildError: 400}
"""Of the answer, where a route raises one of these."""

router = APIRouter(responses=SENTENCE)


def _studio(request: Request) -> Studio:
    studio: Studio = request.app.state.studio
    return studio


Room = Annotated[Studio, Depends(_studio)]


def make_app(studio: Studio) -> FastAPI:
    """The application, without the gate of :mod:`metatrack.web.security` before it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(studio.close)

    app = FastAPI(
        title="metatrack",
        version=__version__,
        description="Draw a box on a video, track, correct, export. Boxes are x, y, w, h in pixels, 0-based, top-left.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
    )
    app.state.studio = studio
    _answers(app)
    app.include_router(router)
    app.mount("/page", StaticFiles(directory=PAGE), name="page")

    @app.get("/", include_in_schema=False)
    def index() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"cache-control": "no-store"})

    return app


def _answers(app: FastAPI) -> None:
    """Every error is a sentence."""

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        parts = []
        for each in error.errors()[:5]:
            place = ".".join(str(part) for part in each["loc"][1:]) or "the request"
            parts.append(f"{place}: {each['msg']}")
        return JSONResponse({"detail": "; ".join(parts)}, 422)

    def told(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, next(status for kind, status in STATUS.items() if isinstance(error, kind)))

    for kind in STATUS:
        app.add_exception_handler(kind, told)


@router.get("/api/projects")
def projects(studio: Room) -> dict[str, Any]:
    """All projects, the cameras that may be opened, and the formats of exports."""
    found = [
        {"id": each.id, "name": each.name, "frames": each.frames, "seconds": each.seconds, "created": each.created}
        for each in studio.store.projects()
    ]
    formats = [{"name": name, "title": each.title, "suffix": suffix_of(name)} for name, each in FORMATS.items()]
    return {"projects": found, "cameras": studio.limits.cameras, "formats": formats, "version": __version__}


@router.post(UPLOAD, status_code=201)
async def upload(studio: Room, request: Request, name: Annotated[str, Query(max_length=500)] = "video") -> dict[str, Any]:
    """A new project of the video that is the request's body, whatever its type says."""
    said = request.headers.get("content-length", "")
    await run_in_threadpool(studio.room_for, int(said) if said.isdecimal() else None)
    path = studio.store.uploads / new_id()
    try:
        await _receive(request, path, studio.limits.upload << 20)
        project = await run_in_threadpool(studio.add, path, name, True)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return studio.facts(project)


@router.post("/api/camera", status_code=201)
def camera(studio: Room, body: bodies.CameraBody) -> dict[str, Any]:
    """A new project that a camera fills, until its job is paused."""
    return studio.facts(studio.camera(body.camera))


@router.get("/api/projects/{project}")
def project(studio: Room, project: Identifier, tasks: BackgroundTasks) -> dict[str, Any]:
    """A project: its video's facts, its targets, its jobs."""
    found = studio.store.project(project)
    tasks.add_task(studio.prepare, found)
    return studio.facts(found)


@router.patch("/api/projects/{project}")
def rename(studio: Room, project: Identifier, body: bodies.ChangedProject) -> dict[str, Any]:
    """Another name."""
    return studio.facts(studio.store.update_project(project, name=clean_name(body.name)))


@router.delete("/api/projects/{project}", status_code=204)
def delete(studio: Room, project: Identifier) -> None:
    """Deletes a project and, if it was uploaded, its video."""
    studio.delete(project)


@router.get("/api/projects/{project}/boxes")
def boxes(studio: Room, project: Identifier) -> Response:
    """All rows: ``[target, frame, kind, x, y, w, h, score, lost]``."""
    studio.store.project(project)
    return Response(msgspec.json.encode({"rows": studio.store.rows(project)}), media_type="application/json")


@router.get("/api/projects/{project}/frames/{frame}", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
def frame(studio: Room, project: Identifier, frame: FrameInPath, width: Annotated[int, Query(ge=-1, le=1440)] = 0) -> Response:
    """A frame as JPEG, at most ``width`` pixels wide (0: as it is; -1: as a tracking has shown it, if it has)."""
    found = studio.store.project(project)
    data = studio.frames.cached(project, frame, PREVIEW) if width == PREVIEW else None
    if data is None:
        found.require_frame(frame)
        chosen = 960 if width == PREVIEW else next((each for each in WIDTHS[1:] if each >= width), 0) if width else 0
        data = studio.frames.jpeg(project, studio.video(found), frame, chosen)
    return Response(data, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})


@router.get(
    "/api/projects/{project}/thumbnails/{frame}", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}}
)
def thumbnail(studio: Room, project: Identifier, frame: FrameInPath) -> Response:
    """A small picture of a frame as JPEG, where there is one: nothing is decoded for it."""
    data = studio.thumbnails.jpeg(studio.store.project(project).id, frame)
    if data is None:
        raise Missing(f"there is no thumbnail of frame {frame} yet; ask for the frame itself")
    return Response(data, media_type="image/jpeg", headers={"cache-control": "no-store"})


async def _receive(request: Request, path: Path, most: int) -> None:
    """Writes a request's body to a file; :class:`Refused` where it is too long, or empty."""
    size = 0
    with path.open("xb") as file:
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                raise Refused(
                    f"the video has more than {most >> 20} megabytes; make it smaller, or start metatrack app with its path"
                )
            await run_in_threadpool(file.write, chunk)
    if not size:
        raise Refused("the file is empty; choose a video")


@router.post("/api/projects/{project}/targets", status_code=201)
def add_target(studio: Room, project: Identifier, body: bodies.NewTarget) -> dict[str, Any]:
    """A new target with a key frame."""
    found = studio.store.project(project)
    if len(studio.store.targets(project)) >= studio.limits.targets:
        raise Refused(f"there are {studio.limits.targets} targets already; delete one first")
    row = studio.key(found, body.frame, (body.box.x, body.box.y, body.box.w, body.box.h))
    target = studio.store.add_target(project, row, body.name, body.color)
    studio.jobs.mark(project, target, (row.x, row.y, row.w, row.h))
    return {**studio.changed(project, [row._replace(target=target)]), "target": target}


@router.patch("/api/projects/{project}/targets/{target}")
def change_target(studio: Room, project: Identifier, target: TargetId, body: bodies.ChangedTarget) -> dict[str, Any]:
    """Another name or colour; hidden or shown."""
    old = studio.store.target(project, target)
    new = StoredTarget(target, body.name or old.name, body.color or old.color, old.hidden if body.hidden is None else body.hidden)
    if new != old:
        what = "rename" if new.name != old.name else "recolour" if new.color != old.color else "hide" if new.hidden else "show"
        studio.store.change_target(project, new, f"{what} {old.name}")
    return studio.changed(project, [])


@router.delete("/api/projects/{project}/targets/{target}")
def delete_target(studio: Room, project: Identifier, target: TargetId) -> dict[str, Any]:
    """Deletes a target with its boxes."""
    studio.jobs.mark(project, target, None)
    return studio.changed(project, studio.store.delete_target(project, target))


@router.put("/api/projects/{project}/targets/{target}/boxes/{frame}")
def put_box(studio: Room, project: Identifier, target: TargetId, frame: FrameInPath, body: bodies.BoxBody) -> dict[str, Any]:
    """A key frame: a box that a person drew, which tracking keeps."""
    found, name = studio.store.project(project), studio.store.target(project, target).name
    row = studio.key(found, frame, (body.x, body.y, body.w, body.h), target)
    studio.store.set_rows(project, f"draw {name} in frame {frame}", [row])
    studio.jobs.mark(project, target, (row.x, row.y, row.w, row.h))
    return studio.changed(project, [row])


@router.post("/api/projects/{project}/targets/{target}/spans")
def span(studio: Room, project: Identifier, target: TargetId, body: bodies.Span) -> dict[str, Any]:
    """Deletes the boxes of a span of frames, or marks the target as not visible in it."""
    found, each = studio.store.project(project), studio.store.target(project, target)
    first, last = sorted((body.first, body.last))
    found.require_frame(last)
    if body.mark == "absent":
        rows = [StoredBox(target, frame, ABSENT) for frame in range(first, last + 1)]
        studio.store.set_rows(project, f"mark {each.name} as not visible in frames {first} to {last}", rows)
        return studio.changed(project, rows)
    return studio.changed(project, studio.store.clear(project, target, first, last))


@router.post("/api/projects/{project}/undo")
def undo(studio: Room, project: Identifier) -> dict[str, Any]:
    """Takes back the last action, a tracking say."""
    studio.not_while_tracking(studio.store.project(project).id)
    return studio.changed(project, studio.store.undo(project))


@router.post("/api/projects/{project}/redo")
def redo(studio: Room, project: Identifier) -> dict[str, Any]:
    """Does again what was taken back."""
    studio.not_while_tracking(studio.store.project(project).id)
    return studio.changed(project, studio.store.redo(project))


@router.post("/api/projects/{project}/jobs", status_code=201)
def track(studio: Room, project: Identifier, body: bodies.NewJob) -> dict[str, Any]:
    """Tracks from a frame on, from the boxes that the targets have there."""
    found = studio.store.project(project)
    studio.video(found)
    found.require_frame(body.frame)
    return studio.jobs.track(found, body.frame, body.direction == "forwards", body.targets, body.stop_when_lost).facts()


@router.delete("/api/projects/{project}/jobs/{job}")
def pause(studio: Room, project: Identifier, job: Identifier) -> dict[str, Any]:
    """Ends a job after the frame in hand; what was done stays."""
    return studio.jobs.pause(project, job).facts()


@router.get(
    "/api/projects/{project}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def events(studio: Room, project: Identifier) -> StreamingResponse:
    """What happens in a project, as server-sent events: jobs, rows, changes."""
    await run_in_threadpool(studio.store.project, project)
    listener = studio.hub.add(project)

    async def stream() -> AsyncIterator[bytes]:
        try:
            async for event in listener.stream():
                yield event
        finally:
            studio.hub.remove(project, listener)

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"cache-control": "no-store"})


@router.get("/api/projects/{project}/exports/{name}", response_class=Response)
def exported(studio: Room, project: Identifier, name: str) -> Response:
    """The boxes in a format of ``/api/projects``."""
    found = studio.store.project(project)
    if name not in FORMATS:
        raise Missing(f"there is no format {name[:50]!r}; there are {', '.join(FORMATS)}")
    data = export(name, studio.store, found)
    return _download(Response(data, media_type="application/octet-stream"), f"{Path(found.name).stem}{suffix_of(name)}")


@router.post("/api/projects/{project}/video", status_code=201)
def film(studio: Room, project: Identifier) -> dict[str, Any]:
    """Begins to write the video with the boxes on it."""
    found = studio.store.project(project)
    studio.video(found)
    return studio.jobs.film(found, studio.film(project)).facts()


@router.get("/api/projects/{project}/video", response_class=FileResponse)
def filmed(studio: Room, project: Identifier) -> Response:
    """The video that was written last."""
    found, path = studio.store.project(project), studio.film(project)
    if not path.exists():
        raise Missing("no video with boxes has been written yet; choose Video with boxes first")
    return _download(FileResponse(path, media_type="video/mp4"), f"{Path(found.name).stem} tracked.mp4")


def _download(response: Response, name: str) -> Response:
    """Names the file; in ASCII, whatever the project is called."""
    plain = "".join(letter if letter.isascii() and letter.isprintable() and letter not in '"\\/' else "_" for letter in name)
    response.headers["content-disposition"] = f'attachment; filename="{os.path.basename(plain) or "boxes"}"'
    return response
