"""What every request has to pass: from where, to which host, how large, how slow, who, and whether it was meant.

Below it no request is read any more: its body, its session and its user lie in `scope["state"]`.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from itsdangerous import BadData, URLSafeTimedSerializer
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inspection.errors import SolderwatchError
from review.page.users import User, Users, sound_name
from settings.schema import ProxySettings

COOKIE = "solderwatch"
SESSION_S = 12 * 3600
CSRF_HEADER = "x-csrf-token"

_LARGEST, _PATIENCE_S = 64 * 1024, 10.0
_OPEN = ("/static/", "/hello")
"""Shown to who has not said who he is."""

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_REPORT = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'none'"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "x-frame-options": "DENY",
}


@dataclass(frozen=True)
class Visitor:
    """Who asks.

    Attributes:
        session: A random number of his session.
        user: None: he has not said yet.
        address: From where.
    """

    session: str
    user: User | None
    address: str


class Sessions:
    """Signed cookies; nothing about them is stored here.

    Args:
        key: The page's.
        users: Whose sessions these may be.
    """

    def __init__(self, key: bytes, users: Users) -> None:
        self._serializer = URLSafeTimedSerializer(key, salt="session")
        self._key, self._users = key, users

    def cookie(self, user: User | None) -> tuple[str, str]:
        """A new session, and its cookie."""
        session = secrets.token_urlsafe(18)
        return session, self._serializer.dumps([session, user.name if user else "", user.stamp if user else ""])

    def read(self, cookie: str | None) -> tuple[str, User | None]:
        """Whose session a cookie is; an empty session where it is none."""
        try:
            session, name, stamp = self._serializer.loads(cookie or "", max_age=SESSION_S)
            if not name:
                return session, None
            if not self._users.names():
                return session, User(sound_name(name), "engineer") if not stamp else None
            user = self._users.find(name)
        except (BadData, ValueError, TypeError):
            return "", None
        return session, user if user and user.stamp == stamp else None

    def known(self, header: str) -> User | None:
        """Who a proxy says it is; whoever is not among the users is an operator, and without any an engineer too."""
        try:
            name = sound_name(header.encode("latin-1").decode())
        except (SolderwatchError, ValueError):
            return None
        return self._users.find(name) or User(name, "operator" if self._users.names() else "engineer")

    def csrf(self, session: str) -> str:
        """What a request of a session has to say to change anything."""
        return hmac.digest(self._key, f"csrf {session}".encode(), "sha256").hex()[:40]


class Guard:
    """The way in.

    Args:
        app: What is behind it.
        sessions: Who is who.
        hosts: The names under which the page may be asked for; None: any.
        proxy: Who signs people in, if not this page.
        tls: Whether cookies are for encrypted connections alone.
    """

    def __init__(
        self, app: ASGIApp, sessions: Sessions, hosts: set[str] | None, proxy: ProxySettings | None, *, tls: bool
    ) -> None:
        self._app, self._sessions, self._hosts, self._proxy, self._tls = app, sessions, hosts, proxy, tls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer why not."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        send = _with_headers(send, scope["path"])
        answer: ASGIApp
        try:
            visitor, cookie = self._visitor(scope, headers)
        except SolderwatchError as error:
            answer = PlainTextResponse(str(error), 503)
        else:
            if cookie:
                send = _with_cookie(send, cookie, tls=self._tls)
            answer = self._refusal(scope, headers) or await self._read(scope, receive, headers, visitor) or self._app
        await answer(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive, headers: Headers, visitor: Visitor) -> Response | None:
        """Read a request into its state; returns what refuses it, if anything does."""
        body = b""
        if scope["method"] == "POST":
            try:
                body = await asyncio.wait_for(_body(receive), _PATIENCE_S)
            except TimeoutError:
                return PlainTextResponse("too slow", 408)
            except ValueError as error:
                return PlainTextResponse(str(error), 413)
            if not self._is_meant(headers, visitor, body):
                return PlainTextResponse("this request does not come from the page: open it anew", 403)
        if visitor.user is None and not scope["path"].startswith(_OPEN):
            if scope["path"].startswith("/api/"):
                return PlainTextResponse("sign in first", 401)
            return RedirectResponse("/hello", 303)
        csrf = self._sessions.csrf(visitor.session)
        scope.setdefault("state", {}).update(visitor=visitor, body=body, csrf=csrf, tls=self._tls)
        return None

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("only GET and POST", 405)
        host = _host(headers.get("host", ""))
        if self._hosts is not None and host not in self._hosts:
            return PlainTextResponse("this page has another name", 421)
        if self._proxy and _address(scope) not in self._proxy.addresses:
            return PlainTextResponse("only through the proxy", 403)
        return None

    def _visitor(self, scope: Scope, headers: Headers) -> tuple[Visitor, str | None]:
        """Who asks, and the cookie that he is to get."""
        cookies = cookie_parser(headers.get("cookie", ""))
        session, user = self._sessions.read(cookies.get(COOKIE))
        address = _address(scope)
        if self._proxy:
            names = headers.getlist(self._proxy.header)
            user = self._sessions.known(names[0]) if len(names) == 1 else None
        if session:
            return Visitor(session, user, address), None
        session, cookie = self._sessions.cookie(None)
        return Visitor(session, user, address), cookie

    def _is_meant(self, headers: Headers, visitor: Visitor, body: bytes) -> bool:
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return False
        said = headers.get(CSRF_HEADER)
        if said is None and headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            said = form(body).get("csrf")
        return said is not None and hmac.compare_digest(said.encode(), self._sessions.csrf(visitor.session).encode())


def form(body: bytes) -> dict[str, str]:
    """The fields of a form; of several with one name the first."""
    try:
        return {name: values[0] for name, values in parse_qs(body.decode(), max_num_fields=20).items()}
    except ValueError:
        return {}


def hosts_of(host: str) -> set[str] | None:
    """The names that a page may be asked for that listens to an address; None: any.

    Whoever makes a name of his own lead to this computer must not come in where nobody signs in.
    """
    return _LOOPBACK if is_loopback(host) else None


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _address(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else ""


def _host(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


async def _body(receive: Receive) -> bytes:
    """Raises ValueError where it is too large."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ValueError("gone")
        parts.append(message.get("body", b""))
        if sum(map(len, parts)) > _LARGEST:
            raise ValueError(f"larger than {_LARGEST} bytes")
        if not message.get("more_body"):
            return b"".join(parts)


def _with_headers(send: Send, path: str) -> Send:
    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(_HEADERS)
            headers["content-security-policy"] = _REPORT if path.startswith("/models/report/") else _POLICY
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return told


def _with_cookie(send: Send, cookie: str, *, tls: bool) -> Send:
    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            # What the page itself has set is the newer one.
            if "set-cookie" not in headers:
                headers["set-cookie"] = cookie_line(cookie, tls=tls)
        await send(message)

    return told


def cookie_line(cookie: str, *, tls: bool) -> str:
    """What a browser is to keep of a session; unreadable for scripts, and never sent along from another site."""
    return f"{COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Strict; Max-Age={SESSION_S}" + ("; Secure" if tls else "")


def state(request: Any, name: str) -> Any:
    """What the guard has found out about a request."""
    return request.scope["state"][name]
