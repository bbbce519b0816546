"""The application: which request is answered by what."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from filing.logs import Log
from filing.opinions import Opinions
from inspection.errors import LedgerError, SolderwatchError
from inspection.files import readable
from inspection.image import Limits
from review.page import pages
from review.page.archive import Archive, GoneError
from review.page.desk import Desk
from review.page.guard import Guard, Sessions, Visitor, cookie_line, form, hosts_of, state
from review.page.items import Teller
from review.page.labels import Labels
from review.page.layout import read_layout
from review.page.line import Line
from review.page.pictures import Pictures
from review.page.queue import Queue
from review.page.seals import Handle, Seals, read_key
from review.page.users import Patience, User, Users, sound_name
from review.page.words import TakenError, Words
from settings import Settings

_WINDOW = 4.0
"""How far beyond black and white a window of grey levels may reach."""


def make_app(settings: Settings, log: Log, host: str = "127.0.0.1") -> Starlette:
    """The page of a line.

    Args:
        settings: Its configuration.
        log: Told of each word, and of who came.
        host: The address that it listens to.

    Raises:
        SolderwatchError: `review.folder` or `review.layout` will not do.
    """
    review = settings.review
    key = read_key(review.folder)
    users, archive, seals = Users(review.folder), Archive(settings), Seals(key)
    sessions, opinions = Sessions(key, users), Opinions(settings)
    layout = read_layout(review.layout)
    line = Line(settings, seals, opinions, layout)
    teller = Teller(settings, archive, seals, layout)
    labels = Labels(settings, archive, seals, log)
    queue = Queue(settings, Desk(review), teller, Words(settings, archive, log), labels, opinions, seals)
    door = _Door(users, sessions, log, by_proxy=review.behind_proxy is not None)
    shown = _Shown(settings, line, labels)
    pictures = _PictureRoutes(Pictures(archive, Limits.of(settings.inbox)), seals)
    tls = review.tls is not None
    hosts = hosts_of(host) if review.behind_proxy is None else None
    return Starlette(
        routes=[
            Route("/", shown.queue),
            Route("/boards", shown.boards),
            Route("/board", shown.board),
            Route("/board/done", shown.board_done(log), methods=["POST"]),
            Route("/labels", shown.queue),
            Route("/labels/list", shown.labels),
            Route("/statistics", shown.statistics),
            Route("/statistics/{name}.{kind}", shown.chart),
            Route("/models", shown.models),
            Route("/models/report/{number:int}", shown.report),
            Route("/hello", door.hello),
            Route("/hello", door.enter, methods=["POST"]),
            Route("/leave", door.leave, methods=["POST"]),
            Route("/picture/{seal}/{page:int}", pictures.picture),
            Route("/map/{seal}/{page:int}", pictures.map),
            Route("/api/next", _api(queue.next), methods=["POST"]),
            Route("/api/word", _api(queue.word), methods=["POST"]),
            Route("/api/undo", _api(queue.undo), methods=["POST"]),
            Route("/api/skip", _api(queue.skip), methods=["POST"]),
            Mount("/static", StaticFiles(packages=[("review.page", "static")])),
        ],
        middleware=[Middleware(Guard, sessions=sessions, hosts=hosts, proxy=review.behind_proxy, tls=tls)],
        exception_handlers={
            GoneError: _told(410),
            TakenError: _told(409),
            LedgerError: _told(503),
            SolderwatchError: _told(422),
            OSError: _told(503),
        },
    )


def _told(status: int) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, error: Exception) -> Response:
        said = readable(str(error))
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": said}, status)
        if request.url.path.startswith(("/picture/", "/map/")):
            return PlainTextResponse(said, status)
        visitor: Visitor = state(request, "visitor")
        return HTMLResponse(_render("error.html", request, visitor, said=said), status)

    return answer


def _api(answer: Callable[[Visitor, dict[str, Any]], dict[str, Any]]) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        try:
            content = json.loads(state(request, "body"))
            if not isinstance(content, dict):
                raise ValueError("no object")  # noqa: TRY004, TRY301
        except (ValueError, RecursionError):
            return JSONResponse({"error": "no JSON object"}, 400)
        return JSONResponse(answer(state(request, "visitor"), content))

    return endpoint


_TEMPLATES = Environment(
    loader=PackageLoader("review.page"), autoescape=select_autoescape(), undefined=StrictUndefined, trim_blocks=True
)


def _render(template: str, request: Request, visitor: Visitor, **values: Any) -> str:
    return _TEMPLATES.get_template(template).render(
        csrf=state(request, "csrf"), user=visitor.user, path=request.url.path, **values
    )


class _PictureRoutes:
    """Pictures and maps."""

    def __init__(self, pictures: Pictures, seals: Seals) -> None:
        self._pictures, self._seals = pictures, seals

    def picture(self, request: Request) -> Response:
        handle = self._seals.open(request.path_params["seal"])
        if handle is None:
            raise GoneError("no such image")
        asked = request.query_params
        side = 160 if asked.get("small") else None
        shown = self._pictures.render(handle, request.path_params["page"], _window(asked), side)
        headers = {
            "x-window": f"{shown.low:.6f} {shown.high:.6f} {shown.bits}",
            "cache-control": _kept(handle),
        }
        return Response(shown.png, media_type="image/png", headers=headers)

    def map(self, request: Request) -> Response:
        handle = self._seals.open(request.path_params["seal"])
        if handle is None or handle.kind not in ("open", "look"):
            raise GoneError("no such map")
        layer = self._pictures.map(handle, request.path_params["page"])
        return Response(layer, media_type="image/png", headers={"cache-control": _kept(handle)})


def _kept(handle: Handle) -> str:
    """How long a browser may keep a picture: another image may come to lie where one is only looked at."""
    return f"private, max-age={600 if handle.decision else 30}"


def _window(asked: Any) -> tuple[float, float] | None:
    try:
        low, high = float(asked["low"]), float(asked["high"])
    except (KeyError, ValueError):
        return None
    # No number is not less than anything.
    return (low, high) if -_WINDOW <= low < high <= _WINDOW else None


class _Door:
    """Where people say who they are."""

    def __init__(self, users: Users, sessions: Sessions, log: Log, *, by_proxy: bool) -> None:
        self._users, self._sessions, self._log, self._by_proxy = users, sessions, log, by_proxy
        self._patience = Patience()

    def hello(self, request: Request) -> Response:
        if state(request, "visitor").user:
            return RedirectResponse("/", 303)
        return self._form(request, "", 200)

    def _form(self, request: Request, said: str, status: int) -> Response:
        values = {"passwords": bool(self._users.names()), "said": said, "by_proxy": self._by_proxy}
        return HTMLResponse(_render("hello.html", request, state(request, "visitor"), **values), status)

    def enter(self, request: Request) -> Response:
        visitor: Visitor = state(request, "visitor")
        fields = form(state(request, "body"))
        if self._by_proxy:
            return self._form(request, "the proxy says who you are", 403)
        try:
            name = sound_name(fields.get("name", ""))
        except SolderwatchError as error:
            return self._form(request, str(error), 422)
        user: User | None = User(name, "engineer")
        if self._users.names():
            keys = f"name {name}", f"address {visitor.address}"
            if (wait := self._patience.wait_s(*keys)) > 0:
                answer = self._form(request, f"too many wrong passwords: wait {wait:.0f} s", 429)
                answer.headers["retry-after"] = f"{wait:.0f}"
                return answer
            user = self._users.check(name, fields.get("password", ""))
            if user is None:
                self._patience.failed(*keys)
                self._log.warning("review_refused", name=readable(name), address=visitor.address)
                return self._form(request, "no such name with this password", 403)
            self._patience.succeeded(*keys)
        self._log.info("review_entered", name=readable(name), address=visitor.address)
        # A session of its own: one that somebody else has slipped in is worth nothing.
        _, cookie = self._sessions.cookie(user)
        return _go("/", cookie, request)

    def leave(self, request: Request) -> Response:
        _, cookie = self._sessions.cookie(None)
        return _go("/hello", cookie, request)


def _go(where: str, cookie: str, request: Request) -> Response:
    answer = RedirectResponse(where, 303)
    answer.headers["set-cookie"] = cookie_line(cookie, tls=state(request, "tls"))
    return answer


class _Shown:
    """The pages that are looked at."""

    def __init__(self, settings: Settings, line: Line, labels: Labels) -> None:
        self._settings, self._line, self._labels = settings, line, labels

    def _page(self, request: Request, template: str, values: dict[str, Any]) -> Response:
        return HTMLResponse(_render(template, request, state(request, "visitor"), **values))

    def queue(self, request: Request) -> Response:
        visitor: Visitor = state(request, "visitor")
        labels = request.url.path == "/labels"
        shown = pages.queue(self._settings, visitor, request.query_params, labels=labels)
        return self._page(request, "queue.html", shown)

    def boards(self, request: Request) -> Response:
        return self._page(request, "boards.html", pages.boards(self._line, request.query_params))

    def board(self, request: Request) -> Response:
        return self._page(request, "board.html", pages.board(self._line, request.query_params))

    def board_done(self, log: Log) -> Callable[[Request], Response]:
        def done(request: Request) -> Response:
            visitor: Visitor = state(request, "visitor")
            where = pages.board_done(self._line, form(state(request, "body")), visitor, log)
            return RedirectResponse(where, 303)

        return done

    def labels(self, request: Request) -> Response:
        return self._page(request, "labels.html", pages.labels(self._line, self._labels, request.query_params))

    def statistics(self, request: Request) -> Response:
        return self._page(request, "statistics.html", pages.statistics(self._line, request.query_params))

    def chart(self, request: Request) -> Response:
        name, kind = request.path_params["name"], request.path_params["kind"]
        text, media = pages.chart(self._line, name, kind, request.query_params)
        headers = {"content-disposition": f'attachment; filename="solderwatch-{name}.{kind}"'}
        return Response(text, media_type=media, headers=headers)

    def models(self, request: Request) -> Response:
        _only_engineers(request)
        return self._page(request, "models.html", pages.models(self._line))

    def report(self, request: Request) -> Response:
        _only_engineers(request)
        return HTMLResponse(pages.report(self._line, request.path_params["number"]))


def _only_engineers(request: Request) -> None:
    visitor: Visitor = state(request, "visitor")
    if visitor.user is None or visitor.user.role != "engineer":
        raise SolderwatchError("this page is for engineers: solderwatch-review user add NAME --role engineer")
