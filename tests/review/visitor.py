"""Somebody who asks the operator's page without a browser: exactly the bytes that a test wants."""

from __future__ import annotations

import http.client
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Visitor:
    """Keeps a cookie, as a browser does.

    Args:
        port: Where the page is.
    """

    def __init__(self, port: int) -> None:
        self.port, self.cookie, self.csrf = port, "", ""

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """One request; names of headers have `_` for `-`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookie and "cookie" not in sent:
            sent["cookie"] = self.cookie
        connection.request(method, path, body, sent)
        found = connection.getresponse()
        answer = Answer(found.status, {name.lower(): value for name, value in found.getheaders()}, found.read())
        connection.close()
        if "set-cookie" in answer.headers:
            self.cookie = answer.headers["set-cookie"].split(";")[0]
        if match := re.search(rb'name="csrf" content="(\w+)"', answer.body):
            self.csrf = match[1].decode()
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        """Look at something."""
        return self.ask("GET", path, None, **headers)

    def post(self, path: str, content: dict[str, Any], **headers: str) -> Answer:
        """Send JSON, as the page's scripts do."""
        told = {"content_type": "application/json", "x_csrf_token": self.csrf} | headers
        return self.ask("POST", path, json.dumps(content).encode(), **told)

    def form(self, path: str, **fields: str) -> Answer:
        """Send a form."""
        body = urlencode({"csrf": self.csrf} | fields).encode()
        return self.ask("POST", path, body, content_type="application/x-www-form-urlencoded")

    def enter(self, name: str = "Ann", password: str = "") -> Answer:
        """Say who it is."""
        self.get("/hello")
        answer = self.form("/hello", name=name, **({"password": password} if password else {}))
        if answer.status == 303:
            self.get("/")
        return answer

    def next(self, **asked: Any) -> list[dict[str, Any]]:
        """The next images."""
        content = {"client": "window 1", "have": [], "count": 5, **asked}
        items: list[dict[str, Any]] = self.post("/api/next", content).json()["items"]
        return items
