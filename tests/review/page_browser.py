"""The operator's page in a real browser: Debian's chromium."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from page_line import NO_CHECKS, Page, PageLine

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip

Serve = Callable[..., Page]
Enter = Callable[..., Any]
PATIENCE_MS = 60_000


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


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A browser, started once; skips where there is none."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as player:
        started = player.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def page_line(tmp_path: Path) -> PageLine:
    """A line without images, on which no blind check is mixed in."""
    return PageLine(tmp_path, NO_CHECKS)


@pytest.fixture
def serve(page_line: PageLine) -> Iterator[Callable[..., Page]]:
    """Starts the page of the line, and ends it."""
    with ExitStack() as stack:
        yield lambda *arguments, **more: stack.enter_context(Page(page_line, *arguments, **more))


@pytest.fixture
def enter(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page in a window of its own, as somebody; returns the window."""
    contexts = []

    def opened(page: Page, name: str = "Ann", path: str = "/", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        window = context.new_page()
        window.goto(page.url + "/hello")
        window.fill("#name", name)
        window.keyboard.press("Enter")
        window.locator("body.deciding").wait_for()
        if path != "/":
            window.goto(page.url + path)
        return window

    yield opened
    for context in contexts:
        context.close()
