"""What an operator is promised, seen in a real browser: one key per image, nothing lost, nothing twice."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from page_line import Page, PageLine, ball, png

from filing.labels import read_answers
from inspection.image import decode

Serve = Callable[..., Page]
Enter = Callable[..., Any]
PATIENCE_MS = 60_000
WAITING = "localStorage.getItem(Object.keys(localStorage).find((key) => key.startsWith('outbox')))"


def shown(window: Any, other_than: str = "") -> str:
    """The image that is drawn, once it is one and another one than before."""
    drawn = f"body[data-drawn]:not([data-drawn='{other_than}'])" if other_than else "body[data-drawn]"
    window.locator(drawn).wait_for(state="attached", timeout=PATIENCE_MS)
    return str(window.evaluate("document.body.dataset.drawn"))


def press(window: Any, key: str) -> None:
    """Press a key for the image that is drawn, and wait for the next one, or the end."""
    window.locator("body[data-seal]").wait_for(state="attached", timeout=PATIENCE_MS)
    seal = window.evaluate("document.body.dataset.seal")
    window.locator(f"body[data-drawn='{seal}']").wait_for(state="attached", timeout=PATIENCE_MS)
    window.keyboard.press(key)
    window.locator(f"body:not([data-seal='{seal}'])").wait_for(state="attached", timeout=PATIENCE_MS)


def settle(window: Any) -> None:
    """Wait until no word is on its way."""
    for _ in range(600):
        if window.evaluate("localStorage.getItem(Object.keys(localStorage).find(k => k.startsWith('outbox')))") in (
            "[]",
            None,
        ):
            return
        time.sleep(0.1)
    raise AssertionError("words stay in the browser")


def empty(window: Any) -> None:
    """Wait until there is nothing to decide."""
    window.locator("body.empty").wait_for(timeout=PATIENCE_MS)


def test_a_shift_by_keys(page_line: PageLine, serve: Serve, enter: Enter, long: bool) -> None:
    """Image after image gets its word with one key each; each word is on the image that was shown, in their order."""
    count = 200 if long else 15
    for number in range(count):
        page_line.file(f"nio/{number:03d}.png")
    page_line.index()
    window = enter(serve())
    said = {}
    for number in range(count):
        shown(window)
        name = window.locator("#names dd").last.inner_text()
        said[name] = "io" if number % 3 else "nio"
        press(window, "i" if number % 3 else "n")
    empty(window)
    settle(window)
    assert list(said) == [f"{number:03d}.png" for number in range(count)]
    assert page_line.words() == said


def test_reasons_and_comments(page_line: PageLine, serve: Serve, enter: Enter) -> None:
    """A digit is nio with its reason; a comment goes with the word that follows, and is gone for the next image."""
    for number in range(2):
        page_line.file(f"nio/{number}.png")
    page_line.index()
    window = enter(serve())
    shown(window)
    window.keyboard.press("c")
    window.keyboard.type("at the <edge>")
    window.keyboard.press("Enter")
    window.locator("#comment[open]").wait_for(state="detached")
    press(window, "2")
    press(window, "1")
    settle(window)
    acts = [page_line.record(f"nio/{number}.png")["relabelled"][-1] for number in range(2)]
    assert [(act["to"], act["reason"], act.get("comment")) for act in acts] == [
        ("nio", "bridge", "at the <edge>"),
        ("nio", "void", None),
    ]


def test_labels_to_check(page_line: PageLine, serve: Serve, enter: Enter) -> None:
    """Doubted labels are a queue of their own, with the same keys and one for what nobody can tell; undo comes back."""
    for number in range(4):
        path = page_line.folder / "dataset" / "nio" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(ball(number)))
    report = page_line.folder / "models" / "m1" / "report"
    report.mkdir(parents=True)
    price = {"label": "nio", "images": 1, "false_calls": 0.01, "aside": False}
    prices = [price | {"part": f"{number}.png"} for number in range(4)]
    (report / "metrics.json").write_text(json.dumps({"prices": prices}), encoding="utf-8")
    page_line.index()
    window = enter(serve(), path="/labels")
    shown(window)
    assert window.locator("#says").inner_text().startswith("Labelled nio. The training: as nio it costs 1.00%")
    press(window, "n")
    press(window, "i")
    press(window, "d")
    settle(window)
    window.keyboard.press("u")
    window.get_by_text("nio/2.png").first.wait_for()
    press(window, " ")
    press(window, "i")
    press(window, "d")
    empty(window)
    settle(window)
    answers = ["confirmed", "changed", "disputed", "changed"]
    assert read_answers(page_line.folder / "dataset") == {f"nio/{n}.png": said for n, said in enumerate(answers)}


def test_undo_across_images(page_line: PageLine, serve: Serve, enter: Enter) -> None:
    """Words are taken back one after the other, skipping too; the images come again, the last one first."""
    for number in range(4):
        page_line.file(f"nio/{number}.png")
    page_line.index()
    window = enter(serve())
    for key in ("i", " ", "n"):
        press(window, key)
    settle(window)
    assert page_line.words() == {"0.png": "io", "2.png": "nio"}
    for name in ("2.png", "1.png", "0.png"):
        window.keyboard.press("u")
        window.get_by_text(re.compile(f"^{name}$")).first.wait_for()
    settle(window)
    assert page_line.words() == {}
    for key in "nnnn":
        press(window, key)
    empty(window)
    settle(window)
    assert set(page_line.words().values()) == {"nio"}


def test_two_windows(page_line: PageLine, serve: Serve, enter: Enter) -> None:
    """Two people at one queue never have the same image in hand, and together they see all."""
    for number in range(12):
        page_line.file(f"nio/{number:02d}.png")
    page_line.index()
    page = serve()
    windows = {"Ann": enter(page, "Ann"), "Bob": enter(page, "Bob")}
    seen: list[str] = []
    for _ in range(20):
        for window in windows.values():
            if "empty" in window.evaluate("document.body.className"):
                continue
            shown(window)
            seen.append(window.locator("#names dd").last.inner_text())
            window.keyboard.press("n")
            window.wait_for_timeout(30)
    for window in windows.values():
        empty(window)
        settle(window)
    assert sorted(page_line.words()) == sorted(set(seen)) == [f"{number:02d}.png" for number in range(12)]
    acts = [page_line.record(f"nio/{number:02d}.png")["relabelled"] for number in range(12)]
    assert {len(act) for act in acts} == {1}
    assert {act[0]["by"] for act in acts} == {"Ann", "Bob"}


def test_server_killed_in_the_middle(page_line: PageLine, serve: Serve, enter: Enter) -> None:
    """Words that are given while the server is dead wait in the browser, and come once it lives again."""
    for number in range(6):
        page_line.file(f"nio/{number}.png")
    page_line.index()
    page = serve()
    window = enter(page)
    press(window, "n")
    settle(window)
    page.kill()
    press(window, "n")
    press(window, "i")
    window.get_by_text("the server is away").first.wait_for()
    page.restart()
    settle(window)
    assert page_line.words() == {"0.png": "nio", "1.png": "nio", "2.png": "io"}
    for _ in range(3):
        press(window, "n")
    empty(window)
    settle(window)
    assert len(page_line.words()) == 6
    assert len(page_line.book()) == 6


def test_an_image_deleted_under_the_page(page_line: PageLine, serve: Serve, enter: Enter) -> None:
    """An image that somebody deletes while it is shown or waits costs one line on the page, and no other image."""
    images = [page_line.file(f"nio/{number}.png") for number in range(4)]
    page_line.index()
    window = enter(serve())
    shown(window)
    for path in (images[0], images[0].with_name("0.png.json")):
        path.unlink()
    press(window, "n")
    window.get_by_text("the image is gone").wait_for()
    for _ in range(3):
        press(window, "n")
    empty(window)
    settle(window)
    assert sorted(page_line.words()) == ["1.png", "2.png", "3.png"]


def test_filing_meanwhile(page_line: PageLine, serve: Serve, enter: Enter) -> None:
    """What is filed while somebody waits at an empty queue comes by itself."""
    page_line.index()
    window = enter(serve())
    empty(window)
    page_line.file("nio/late.png")
    page_line.index()
    shown(window)
    press(window, "i")
    settle(window)
    assert page_line.words() == {"late.png": "io"}


def pixels(window: Any) -> Any:
    """What is on the canvas, grey levels of a row through its middle."""
    return np.array(
        window.evaluate(
            "(() => { const c = document.getElementById('image');"
            "return Array.from(c.getContext('2d').getImageData(0, c.height >> 1, c.width, 1).data); })()"
        )
    ).reshape(-1, 4)


def test_window_and_level_at_full_depth(page_line: PageLine, serve: Serve, enter: Enter) -> None:
    """A window of some hundred of 65536 grey levels shows what 8 bits have not: each level where it has to be."""
    ramp = np.broadcast_to(np.arange(20_000, 20_064, dtype=np.uint16), (64, 64))
    page_line.file("nio/ramp.png", png(ramp))
    page_line.index()
    page = serve()
    window = enter(page)
    seal = shown(window)
    low, high = 20_000 / 65535, 20_063 / 65535
    answer = window.request.get(f"{page.url}/picture/{seal}/0?low={low:.9f}&high={high:.9f}")
    found = np.rint(decode(answer.body(), max_pixels=10_000).pixels[0] * 255)
    assert np.abs(found - np.arange(64) * 255 / 63).max() <= 1
    before = window.locator("#window").inner_text()
    window.keyboard.press("m")
    window.keyboard.press("]")
    window.wait_for_timeout(500)
    brighter = window.locator("#window").inner_text()
    assert brighter != before
    window.keyboard.press("r")
    window.wait_for_timeout(500)
    assert window.locator("#window").inner_text() == before


def test_map_zoom_and_magnifier(page_line: PageLine, serve: Serve, enter: Enter) -> None:
    """The map lies where it belongs, goes and comes with one key, and has an opacity; zoom comes to single pixels."""
    page_line.file("nio/a.png")
    page_line.index()
    window = enter(serve())
    shown(window)
    window.wait_for_timeout(800)

    def coloured() -> Any:
        row = pixels(window).astype(int)
        return np.flatnonzero(row[:, 0] - row[:, 2] > 30)

    # The middle row is at the lower edge of the hot quarter: look a little above it.
    window.keyboard.press("m")
    window.wait_for_timeout(200)
    assert coloured().size == 0
    window.keyboard.press("m")
    window.wait_for_timeout(200)
    width = pixels(window).shape[0]
    assert coloured().size > 20
    assert coloured().max() < width * 0.55
    window.evaluate(
        "const range = document.getElementById('opacity'); range.value = 0; range.dispatchEvent(new Event('input'))"
    )
    window.wait_for_timeout(200)
    assert coloured().size == 0
    for _ in range(10):
        window.keyboard.press("+")
    assert window.locator("#window").inner_text().endswith("64.0 x")
    window.keyboard.press("0")
    window.keyboard.press("l")
    window.mouse.move(400, 300)
    assert window.locator("#lens-on").get_attribute("aria-pressed") == "true"


def test_pages_of_a_stack(page_line: PageLine, serve: Serve, enter: Enter, draw_stack: Callable[..., bytes]) -> None:
    """Of a file with several pages the one that decided is shown first, and the others are a key away."""
    stack = draw_stack([(ball(number) >> 8).astype(np.uint8) for number in range(3)])
    page_line.file("nio/stack.tif", stack, pages=3, page=2, bits=8)
    page_line.index()
    window = enter(serve())
    shown(window)
    assert window.locator("#pages button[aria-pressed='true']").inner_text() == "page 2"
    window.keyboard.press("PageDown")
    window.locator("#pages button[aria-pressed='true']", has_text="page 3").wait_for()


def test_touch(page_line: PageLine, serve: Serve, enter: Enter) -> None:
    """On a telephone nothing sticks out, and a word is one tap."""
    page_line.file("nio/a.png")
    page_line.index()
    window = enter(serve(), viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    shown(window)
    assert window.evaluate("document.documentElement.scrollWidth") <= 390
    window.tap("#io")
    empty(window)
    settle(window)
    assert page_line.words() == {"a.png": "io"}


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_dark_and_bright(page_line: PageLine, serve: Serve, enter: Enter, scheme: str) -> None:
    """All text has a contrast of 4.5 at least against what is behind it, in a dark room and in a bright one."""
    page_line.file("nio/a.png", board="B1", joint="r1c1", view="1")
    page_line.index()
    page = serve()
    window = enter(page, color_scheme=scheme)
    shown(window)
    for path in ("/", "/boards", "/board?board=B1", "/labels", "/statistics", "/models"):
        if path != "/":
            window.goto(page.url + path)
        assert window.evaluate(CONTRAST) == [], path


CONTRAST = """(() => {
  const linear = (v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const lum = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
  const read = (text) => text.match(/[\\d.]+/g).map(Number);
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.disabled || element.closest('svg, .nothing, .unseen')) continue;
    let behind = element;
    const ground = () => read(getComputedStyle(behind).backgroundColor);
    while (ground()[3] === 0) behind = behind.parentElement;
    const [one, two] = [lum(read(getComputedStyle(element).color)), lum(ground())].sort((a, b) => b - a);
    if ((one + .05) / (two + .05) < 4.5) found.push(`${element.tagName} ${element.textContent.trim().slice(0, 30)}`);
  }
  return found;
})()"""


NAMELESS = """(() => {
  const said = (e) => e.textContent.trim() || e.getAttribute('aria-label') || e.title;
  const named = (e) => said(e) || e.labels?.length || e.hasAttribute('alt');
  const all = document.querySelectorAll('button, a, input:not([type=hidden]), img, canvas, svg[role]');
  return [...all].filter((e) => !named(e)).map((e) => e.outerHTML);
})()"""


def test_everything_has_a_name(page_line: PageLine, serve: Serve, enter: Enter) -> None:
    """Whoever does not see the page hears what each control is; the keyboard reaches all of them."""
    page_line.file("nio/a.png", board="B1", joint="r1c1", view="1")
    page_line.index()
    page = serve()
    window = enter(page)
    shown(window)
    for path in ("/", "/boards", "/board?board=B1", "/statistics"):
        if path != "/":
            window.goto(page.url + path)
        nameless = window.evaluate(NAMELESS)
        assert nameless == [], path
        assert window.evaluate("document.querySelectorAll('[tabindex]:not([tabindex=\"0\"])').length") == 0
        assert window.evaluate("document.querySelectorAll('h1').length") == 1
