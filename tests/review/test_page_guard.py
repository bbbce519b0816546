"""What the page promises to who is not meant to come in, and about names and paths that mean harm."""

from __future__ import annotations

import base64
import os
import random
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_line import NO_CHECKS, Page, PageLine
from visitor import Visitor

from inspection.verdict import LABELS
from review.__main__ import main
from review.page.seals import Handle, Seals, read_key
from review.page.users import Patience, Users

HOSTILE = [
    "<script>alert(1)</script>.png", "a\nb.png", "%00..%2f.png", os.fsdecode(b"\xff\xfe.png"), "'\"><img src=x>.png",
    "{{7*7}}.png", "~.png", "=cmd().png",
]  # fmt: skip


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PageLine, Page]]:
    """A line whose images, boards and joints have names that mean harm, and its page."""
    line = PageLine(tmp_path_factory.mktemp("hostile"), NO_CHECKS)
    for index, name in enumerate(HOSTILE):
        unit = os.fsencode(name).decode("utf-8", "backslashreplace")
        line.file(f"nio/{name}", board=unit, joint=unit, view=unit, notes=[unit], product="")
        line.file(f"io/{index}.png", board=unit, joint=f"{unit}2", view=unit, product="")
    (line.folder / "secret.txt").write_text("secret")
    (line.folder / "data" / "nio" / "link.png").symlink_to(line.folder / "secret.txt")
    line.index()
    with Page(line) as page:
        yield line, page


@pytest.fixture
def ann(hostile: tuple[PageLine, Page]) -> Visitor:
    """Somebody who has come in."""
    visitor = Visitor(hostile[1].port)
    assert visitor.enter().status == 303
    return visitor


def test_names_are_only_text(ann: Visitor) -> None:
    """Names of files, boards and joints never become markup, wherever they are shown."""
    pages = [
        ann.get(path).text
        for path in ("/boards", "/boards?serial=%3Cscript%3E", "/labels/list", "/statistics", "/models")
    ]
    links = set(re.findall(r'href="(/board\?[^"]+)"', pages[0]))
    assert len(links) == len(HOSTILE)
    pages += [ann.get(link.replace("&amp;", "&")).text for link in links]
    pages.append(ann.get("/?board=%3Cscript%3Ealert(1)%3C/script%3E&product=%3C/script%3E").text)
    for page in pages:
        assert "<script>alert" not in page
        assert "<img src=x>" not in page
        assert "</script>&" not in page
        assert "49.png" not in page


def test_hostile_names_can_be_decided(hostile: tuple[PageLine, Page], ann: Visitor) -> None:
    """Each of them is shown, drawn, and takes its word."""
    line, _ = hostile
    items = ann.next(count=12)
    assert len(items) == len(HOSTILE)
    for item in items:
        assert ann.get(f"/picture/{item['seal']}/0").headers["content-type"] == "image/png"
        assert ann.get(f"/map/{item['seal']}/0").status == 200
        assert ann.post("/api/word", {"client": "window 1", "seal": item["seal"], "label": "nio"}).status == 200
    assert len(line.words()) == len(HOSTILE)
    for item in items:
        assert ann.post("/api/undo", {"client": "window 1", "seal": item["seal"]}).status == 200
    assert line.words() == {}


def test_no_path_leads_out(hostile: tuple[PageLine, Page], ann: Visitor) -> None:
    """Even who has the page's key opens nothing but judged images: no link, no way out, nothing the ledger lacks."""
    line, _ = hostile
    seals = Seals(read_key(line.settings.review.folder))
    for path in ("../../secret.txt", "/etc/passwd", "link.png", "..", "0.png.json", "../../config.yaml", "a/../../x"):
        for outcome in LABELS:
            seal = seals.seal(Handle(outcome, Path(path), "", "look"))
            answer = ann.get(f"/picture/{seal}/0")
            assert answer.status in (410, 422), path
            assert b"secret" not in answer.body.replace(b"secret.txt", b"")
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd"):
        assert ann.get(path).status in (404, 405), path


def test_seals_say_nothing() -> None:
    """A seal is the same for the same image, another one for another, and does not tell io from nio."""
    seals = Seals(b"k" * 32)
    one, other = (seals.seal(Handle(outcome, Path("a.png"), "d", "open")) for outcome in LABELS)
    assert one == seals.seal(Handle("io", Path("a.png"), "d", "open"))
    assert one != other
    assert b"nio" not in base64.urlsafe_b64decode(other + "==")
    assert seals.open(other) == Handle("nio", Path("a.png"), "d", "open")
    for changed in (
        other[:-2],
        "A" + other[1:],
        "",
        "é",
        "A" * 5000,
        Seals(b"x" * 32).seal(Handle("io", Path("a"), "", "look")),
    ):
        assert seals.open(changed) is None


def test_ten_thousand_requests(ann: Visitor, long: bool) -> None:
    """Whatever is asked, the answer is no failure of the program, and it goes on answering."""
    draw = random.Random(0)  # noqa: S311
    words = ["api", "next", "word", "undo", "skip", "picture", "map", "static", "page.css", "board", "boards", "labels"]
    words += ["statistics", "models", "report", "hello", "images.csv", "-1", "9" * 20, "..", "%00", "%ff", "<script>"]
    words += ["a" * 300, "~", "'"]
    values: list[object] = [
        None,
        True,
        -1,
        1e308,
        "",
        "x",
        "\ud800",
        "\x00",
        [],
        {},
        ["x"] * 200,
        "A" * 1000,
        [[[]]],
        {"seal": {}},
    ]
    keys = ["client", "have", "count", "product", "board", "labels", "seal", "label", "reason", "comment", "skipped"]
    for _ in range(10_000 if long else 400):
        path = "/" + "/".join(draw.choices(words, k=draw.randint(0, 3)))
        path += "?" + "&".join(f"{draw.choice(keys)}={draw.choice(words)}" for _ in range(draw.randint(0, 3)))
        path = path.replace("\x00", "%00").replace(" ", "+")
        if draw.random() < 0.5:
            answer = ann.get(path)
        else:
            content = {draw.choice(keys): draw.choice(values) for _ in range(draw.randint(0, 6))}
            target = draw.choice(["/api/next", "/api/word", "/api/undo", "/api/skip", path])
            answer = ann.post(target, {"client": "x", **content})
        assert answer.status < 500, (path, answer.text)
    assert ann.get("/").status == 200


def test_only_the_page_itself_changes_anything(ann: Visitor) -> None:
    """Without the session's own token, or from another site, nothing is taken; nor with another session's token."""
    content = {"client": "window 1", "have": [], "count": 1}
    other = Visitor(ann.port)
    other.enter("Eve")
    assert ann.post("/api/next", content).status == 200
    assert ann.post("/api/next", content, x_csrf_token="").status == 403
    assert ann.post("/api/next", content, x_csrf_token=other.csrf).status == 403
    assert ann.post("/api/next", content, origin="http://evil.example").status == 403
    assert ann.post("/api/next", content, origin="null").status == 403
    assert ann.ask("PUT", "/api/next").status == 405
    assert Visitor(ann.port).post("/api/next", content).status == 403


def test_headers(ann: Visitor) -> None:
    """No page runs a script of its own making, is framed, or is kept; cookies are the server's alone."""
    answer = ann.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<script(?![^>]* src=)(?![^>]*application/json)|\son\w+=|style=", answer.text)
    fresh = Visitor(ann.port).get("/hello")
    assert {"HttpOnly", "SameSite=Strict"} <= set(fresh.headers["set-cookie"].split("; "))


def test_another_name_for_this_computer(ann: Visitor) -> None:
    """A site that makes its own name lead to this computer gets nothing."""
    assert ann.get("/", host="evil.example").status == 421
    assert ann.get("/", host=f"localhost:{ann.port}").status == 200


def test_a_session_is_not_slipped_in(ann: Visitor) -> None:
    """Whoever comes in gets a new session: one that somebody else knows is worth nothing; a forged one neither."""
    visitor = Visitor(ann.port)
    visitor.get("/hello")
    before = visitor.cookie
    assert visitor.enter("Bob").status == 303
    assert visitor.cookie != before
    assert Visitor(ann.port).get("/", cookie=before).status == 303
    assert Visitor(ann.port).get("/", cookie=visitor.cookie[:-1] + "x").status == 303
    assert Visitor(ann.port).get("/", cookie="solderwatch=%00; \xff").status == 303


def test_large_and_slow_requests(ann: Visitor) -> None:
    """A body that is too large is refused; who sends nothing more keeps nobody waiting."""
    assert ann.ask("POST", "/api/next", b"x" * 100_000, x_csrf_token=ann.csrf).status == 413
    slow = []
    for _ in range(50):
        connection = socket.create_connection(("127.0.0.1", ann.port))
        connection.send(b"POST /api/next HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50\r\n\r\n{")
        slow.append(connection)
    assert ann.get("/").status == 200
    for connection in slow:
        connection.close()


def test_users(tmp_path: Path) -> None:
    """With users everybody signs in, the engineer's page is the engineer's, and who is removed is out at once."""
    line = PageLine(tmp_path)
    line.index()
    users = Users(line.settings.review.folder)
    users.put("Ann", "correct horse", "operator")
    users.put("Eve", "battery staple", "engineer")
    assert b"correct horse" not in (line.settings.review.folder / "users.json").read_bytes()
    with Page(line) as page:
        ann, eve = Visitor(page.port), Visitor(page.port)
        assert ann.enter("Ann", "wrong").status == 403
        assert ann.get("/").status == 303
        assert ann.enter("Ann", "correct horse").status == 303
        assert ann.get("/").status == 200
        assert ann.get("/models").status == 422
        assert eve.enter("Eve", "battery staple").status == 303
        assert eve.get("/models").status == 200
        for _ in range(3):
            Visitor(page.port).enter("Ann", "guess")
        slowed = Visitor(page.port).enter("Ann", "correct horse")
        assert slowed.status == 429
        assert int(slowed.headers["retry-after"]) >= 1
        users.remove("Ann")
        assert ann.get("/").status == 303


def test_patience() -> None:
    """Three tries are free; then each wrong password doubles the wait, to a minute; the right one ends it."""
    now = [0.0]
    patience = Patience(lambda: now[0])
    waits = []
    for _ in range(12):
        patience.failed("name Ann")
        waits.append(patience.wait_s("name Ann", "address 10.0.0.1"))
    assert waits[:5] == [0, 0, 1, 2, 4]
    assert waits[-1] == 60
    patience.succeeded("name Ann")
    assert patience.wait_s("name Ann") == 0


def test_behind_a_proxy(tmp_path: Path) -> None:
    """The proxy's header says who it is; from any other address it says nothing."""
    trusted = "review: {check_io: 0, repeat: 0, behind_proxy: {header: X-Remote-User, addresses: [%s]}}\n"
    line = PageLine(tmp_path, trusted % "127.0.0.1")
    line.index()
    with Page(line) as page:
        visitor = Visitor(page.port)
        assert visitor.get("/").status == 303
        assert "Ann" in visitor.get("/", x_remote_user="Ann").text
        assert visitor.get("/", x_remote_user="<script>").status == 200
        assert visitor.enter("Ann").status == 403
    line.config.write_text(trusted % "10.9.8.7", encoding="utf-8")
    with Page(line) as page:
        assert Visitor(page.port).get("/", x_remote_user="Ann").status == 403


def complaint(line: PageLine, *arguments: str) -> str:
    """What the command says that ends with a mistake."""
    command = [sys.executable, "-m", "review", "--config", str(line.config), *arguments]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2, result.stderr
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_not_for_others_unless_they_sign_in(tmp_path: Path) -> None:
    """Another address than this computer's is refused without users, and without TLS; the line says what to do."""
    line = PageLine(tmp_path)
    assert "user add" in complaint(line, "--host", "0.0.0.0")  # noqa: S104
    Users(line.settings.review.folder).put("Ann", "correct horse", "operator")
    assert "review.tls" in complaint(line, "--host", "0.0.0.0")  # noqa: S104
    line.config.write_text("review: {tls: {certificate: no.pem, key: no.key}}\n", encoding="utf-8")
    assert "no such file" in complaint(line, "--host", "0.0.0.0")  # noqa: S104


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong layout, a user without a name, one that is not there: one line each, and the exit code."""
    line = PageLine(tmp_path, "review: {layout: nowhere.csv}\n")
    assert main(["--config", str(line.config)]) == 2
    assert main(["user", "add", "--config", str(line.config)]) == 2
    assert main(["user", "remove", "Nobody", "--config", str(line.config)]) == 1
    assert capsys.readouterr().err.count("\n") == 3
    with pytest.raises(SystemExit, match="2"):
        main(["--port", "0"])


def test_a_port_that_is_taken_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody is sent to a page that somebody else serves; the line says what to do."""
    line = PageLine(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert main(["--config", str(line.config), "--port", port]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"solderwatch-review: --port {port}: in use, maybe by another page; name another one\n"


def test_a_damaged_list_of_users_lets_nobody_in(tmp_path: Path) -> None:
    """Where users cannot be read it is not as if there were none."""
    line = PageLine(tmp_path)
    line.index()
    line.settings.review.folder.mkdir(parents=True)
    (line.settings.review.folder / "users.json").write_text("[")
    with Page(line) as page:
        visitor = Visitor(page.port)
        assert visitor.get("/hello").status in (422, 503)
        assert visitor.get("/").status in (303, 503)
