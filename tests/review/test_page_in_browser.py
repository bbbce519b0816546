"""What an operator is promised, seen in a real browser: one key per image, nothing lost, nothing twice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd.dicom import described, native
from page_browser import Enter, Serve, empty, press, settle, shown
from page_line import PageLine, ball, png
from visitor import Visitor

from filing.labels import read_answers
from inspection.image import decode


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
    window.get_by_text("nio/2.png").first.wait_for()
    window.locator("body:not(.empty)").wait_for()
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
    for _ in range(400):  # on a busy machine a key may come before the next image does
        left = [window for window in windows.values() if "empty" not in window.evaluate("document.body.className")]
        # Windows that are empty now may yet be given what was in hand.
        if not left and len(page_line.words()) == 12:
            break
        for window in left:
            shown(window)
            seen.append(window.locator("#names dd").last.inner_text())
            window.keyboard.press("n")
        windows["Ann"].wait_for_timeout(60)
    for window in windows.values():
        empty(window)
        settle(window)
    assert sorted(page_line.words()) == sorted(set(seen)) == [f"{number:02d}.png" for number in range(12)]
    acts = [page_line.record(f"nio/{number:02d}.png")["relabelled"] for number in range(12)]
    assert {len(act) for act in acts} == {1}
    assert {act[0]["by"] for act in acts} == {"Ann", "Bob"}


def test_a_word_on_its_way_is_in_hand(page_line: PageLine, serve: Serve, enter: Enter) -> None:
    """What was decided is asked for as in hand until the server has heard it, so that nobody else is given it."""
    page_line.file("nio/only.png")
    page_line.index()
    window = enter(serve())
    seal = shown(window)
    held: list[Any] = []
    window.route("**/api/word", lambda route: held.append(route))  # noqa: PLW0108 - no builtin
    with window.expect_request("**/api/next") as asked:
        window.keyboard.press("n")
    assert asked.value.post_data_json["have"] == [seal]
    held[0].continue_()
    settle(window)
    with window.expect_request("**/api/next") as asked:
        empty(window)
    assert asked.value.post_data_json["have"] == []
    assert page_line.words() == {"only.png": "nio"}


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


def test_dicom_at_full_depth(page_line: PageLine, serve: Serve, enter: Enter) -> None:
    """A DICOM file of 12 bits is shown with its own grey levels, MONOCHROME1 the right way round."""
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint16) * 64, (64, 64)).copy()
    levels = described(ramp, stored=12, PhotometricInterpretation="MONOCHROME1")
    page_line.file("nio/joint.dcm", native(levels, ramp), bits=12)
    page_line.index()
    page = serve()
    window = enter(page)
    seal = shown(window)
    assert window.locator("#window").inner_text().split(",")[0].endswith("of 4095")
    answer = window.request.get(f"{page.url}/picture/{seal}/0?low=0&high=1")
    found = np.rint(decode(answer.body(), max_pixels=10_000).pixels[0] * 255)
    assert np.abs(found - (255 - np.arange(64) * 64 * 255 / 4095)).max() <= 1
    press(window, "n")
    settle(window)
    assert page_line.words() == {"joint.dcm": "nio"}


def test_over_tls(page_line: PageLine, serve: Serve, enter: Enter) -> None:
    """With the plant's certificate the page speaks https alone, and its cookie never travels without."""
    page_line.file("nio/a.png")
    page_line.index()
    certificate(page_line.folder)
    config = "review: {check_io: 0, repeat: 0, tls: {certificate: page.pem, key: page.key}}\n"
    page_line.config.write_text(config, encoding="utf-8")
    page = serve(scheme="https")
    window = enter(page, ignore_https_errors=True)
    shown(window)
    assert all(cookie["secure"] and cookie["httpOnly"] for cookie in window.context.cookies())
    press(window, "i")
    settle(window)
    assert page_line.words() == {"a.png": "io"}
    with pytest.raises(ConnectionError):
        Visitor(page.port).get("/")


def certificate(folder: Path) -> None:
    """A certificate that vouches for itself, and its key."""
    x509 = pytest.importorskip("cryptography.x509", reason="cryptography is not installed")
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    signed = made.sign(key, hashes.SHA256())
    plain = serialization.NoEncryption()
    pkcs8 = serialization.PrivateFormat.PKCS8
    (folder / "page.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "page.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, plain))
