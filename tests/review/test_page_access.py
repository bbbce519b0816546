"""What the page promises to who sees it badly, or not at all, or has no mouse: what axe-core would look for first."""

from __future__ import annotations

import pytest
from page_browser import Enter, Serve, press, settle, shown
from page_line import PageLine

PAGES = ("/", "/boards", "/board?board=B1", "/labels", "/labels/list", "/statistics", "/models")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_dark_and_bright(page_line: PageLine, serve: Serve, enter: Enter, scheme: str) -> None:
    """All text has a contrast of 4.5 at least against what is behind it, in a dark room and in a bright one."""
    page_line.file("nio/a.png", board="B1", joint="r1c1", view="1")
    page_line.index()
    page = serve()
    window = enter(page, color_scheme=scheme)
    shown(window)
    for path in PAGES:
        if path != "/":
            window.goto(page.url + path)
        assert window.evaluate(CONTRAST) == [], path
    window.goto(page.url + "/boards?serial=none")
    assert window.evaluate(CONTRAST) == []
    window.keyboard.press("Tab")
    assert window.evaluate(RING) >= 3


RING = """(() => {
  const linear = (v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const lum = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
  const read = (text) => text.match(/[\\d.]+/g).map(Number);
  const style = getComputedStyle(document.activeElement);
  if (style.outlineStyle === 'none' || parseFloat(style.outlineWidth) < 2) return 0;
  const ground = getComputedStyle(document.body).backgroundColor;
  const [one, two] = [lum(read(style.outlineColor)), lum(read(ground))].sort((a, b) => b - a);
  return (one + .05) / (two + .05);
})()"""
"""How plainly the ring around what has the focus stands out."""


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
    for path in PAGES:
        if path != "/":
            window.goto(page.url + path)
        nameless = window.evaluate(NAMELESS)
        assert nameless == [], path
        assert window.evaluate("document.querySelectorAll('[tabindex]:not([tabindex=\"0\"])').length") == 0
        assert window.evaluate("document.querySelectorAll('h1').length") == 1


REACHABLE = """[...document.querySelectorAll('a[href], button, input:not([type=hidden]), [tabindex="0"]')]
  .filter((e) => e.checkVisibility() && !e.disabled && !e.closest('dialog'))"""


def test_the_keyboard_reaches_all_in_reading_order(page_line: PageLine, serve: Serve, enter: Enter) -> None:
    """Tab goes through everything that can be pressed, as one reads, shows where it is, and leaves again."""
    for number in range(2):
        page_line.file(f"nio/{number}.png", board="B1", joint=f"r1c{number}", view="1")
    page_line.index()
    page = serve()
    window = enter(page)
    shown(window)
    for path in ("/", "/boards", "/statistics"):
        if path != "/":
            window.goto(page.url + path)
        count = window.evaluate(f"({REACHABLE}).length")
        window.evaluate("document.activeElement.blur()")
        reached: list[int] = []
        while len(reached) < count:
            window.keyboard.press("Tab")
            place = window.evaluate(f"({REACHABLE}).indexOf(document.activeElement)")
            if place < 0:  # behind the last one the browser itself has its turn
                assert reached
                assert not window.evaluate("document.activeElement.matches('body *')")
                continue
            reached.append(place)
            assert window.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        assert sorted(reached) == list(range(count)), path
        first = reached.index(0)
        assert reached[first:] + reached[:first] == sorted(reached), path


def test_a_dialog_keeps_the_focus_and_gives_it_back(page_line: PageLine, serve: Serve, enter: Enter) -> None:
    """While a dialog is open the keyboard stays in it; Escape closes it, and keys decide again."""
    page_line.file("nio/a.png")
    page_line.index()
    window = enter(serve())
    shown(window)
    window.keyboard.press("?")
    window.locator("#help[open]").wait_for()
    for _ in range(4):
        window.keyboard.press("Tab")
        assert window.evaluate("document.activeElement === document.body || !!document.activeElement.closest('#help')")
    window.keyboard.press("n")
    assert window.evaluate("!document.body.classList.contains('empty')")
    window.keyboard.press("Escape")
    window.locator("#help[open]").wait_for(state="detached")
    press(window, "n")
    settle(window)
    assert page_line.words() == {"a.png": "nio"}
