"""The operator's page in a real browser: Debian's chromium."""

from __future__ import annotations

import shutil
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
