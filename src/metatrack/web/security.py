"""Who may ask the server for anything: a browser that opened the printed address, on a page that this server gave it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from http.cookies import SimpleCookie
from typing import Any

import msgspec

from metatrack.web.store import SESSION_SECONDS, ProjectStore

COOKIE = "metatrack"
MOST_BODY = 1 << 20  # bytes of a request, but for an uploaded video, whose route counts itself
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
USED = (
    "This page needs the address that metatrack app printed. It opens one browser, once: for another browser, or if the"
    " address was used before, run metatrack app again (it prints a new address for the server that is running)."
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Gate:
    """Stands before the routes: checks host, origin and session, bounds what comes in, and adds headers to what goes out.

    Args:
        app, store: what stands behind it, and what knows the sessions.
        hosts: values of the Host header that are this server: anything else is another site that leads here.
        upload: path of the one route that takes long bodies.
    """

    def __init__(self, app: App, store: ProjectStore, hosts: Collection[str], upload: str) -> None:
        self._app, self._store, self._hosts, self._upload = app, store, frozenset(hosts), upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        problem = self._problem(scope, headers)
        if problem is not None:
            await _answer(send, *problem)
            return
        if scope["path"] == "/" and b"token=" in scope["query_string"]:
            await self._let_in(scope, headers, send)
            return
        if not self._store.is_session(_session(headers)):
            await _answer(send, 401, USED, plain=scope["path"] == "/")
            return
        uploads = scope["path"] == self._upload and scope["method"] == "POST"
        said = headers.get("content-length", "0")
        if not uploads and (not said.isdecimal() or int(said) > MOST_BODY):
            await _answer(send, 413, f"the request is longer than {MOST_BODY} bytes; send less at a time")
            return
        await self._app(scope, receive if uploads else _bounded(receive), _with_headers(send))

    def _problem(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Why a request is not answered at all."""
        host = headers.get("host", "")
        if host not in self._hosts:
            return 421, f"this server is not {host[:100]!r}; open the address that metatrack app printed, or see --allow-host"
        origin = headers.get("origin")
        foreign = origin is not None and origin.partition("://")[2] not in self._hosts
        if foreign or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            if scope["path"] != "/" or scope["method"] != "GET" or foreign:  # a link may lead here; a page may not ask for us
                return 403, "another site asked for this; open the address that metatrack app printed"
        return None

    async def _let_in(self, scope: Scope, headers: dict[str, str], send: Send) -> None:
        """The printed address: its token is used up, and the browser gets a session."""
        token = scope["query_string"].decode("latin-1").partition("token=")[2].partition("&")[0]
        cookie = b""
        if self._store.take_token(token):
            secret = self._store.give_key("session", SESSION_SECONDS)
            cookie = f"{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={int(SESSION_SECONDS)}".encode()
        elif not self._store.is_session(_session(headers)):
            await _answer(send, 401, USED, plain=True)
            return
        query = scope["query_string"].decode("latin-1").split("&")
        rest = "&".join(part for part in query if not part.startswith("token="))
        target = f"/?{rest}" if rest.replace("project=", "").isalnum() else "/"
        fields = [(b"location", target.encode()), (b"cache-control", b"no-store"), (b"content-length", b"0")]
        fields += [(b"set-cookie", cookie)] if cookie else []
        await _with_headers(send)({"type": "http.response.start", "status": 303, "headers": fields})
        await send({"type": "http.response.body", "body": b""})


def _bounded(receive: Receive) -> Receive:
    """Ends a body that does not say its length where it becomes too long; whoever reads it finds half of it, and refuses that."""
    left = MOST_BODY

    async def bounded() -> MutableMapping[str, Any]:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        return message if left >= 0 else {"type": "http.disconnect"}

    return bounded


def _session(headers: dict[str, str]) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except Exception:  # noqa: BLE001 - a cookie that cannot be read is none
        return ""
    return found.value if found else ""


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            fields = [*message.get("headers", []), *((name.encode(), value.encode()) for name, value in HEADERS.items())]
            message = {**message, "headers": fields}
        await send(message)

    return sending


async def _answer(send: Send, status: int, sentence: str, plain: bool = False) -> None:
    body = sentence.encode() if plain else msgspec.json.encode({"detail": sentence})
    kind = b"text/plain; charset=utf-8" if plain else b"application/json"
    fields = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
    await _with_headers(send)({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})
