"""What the typed settings promise apart from reading them from a file."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from inspection import cam
from settings.schema import CamMethod, CamSettings, InboxSettings, Paths, Settings

METHODS: tuple[CamMethod, ...] = get_args(CamMethod)


def test_cam_methods_are_those_there_are() -> None:
    """The configuration offers each method that can be made, and no other."""
    assert set(METHODS) == set(cam.METHODS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("only_last_conv", [True, False])
def test_layers_fit_the_method(method: CamMethod, only_last_conv: bool) -> None:
    """CAM and ExcessCAM work on the last convolution, RefineCAM on several; the message says which key to change."""
    wrong = {"CAM": False, "ExcessCAM": False, "RefineCAM": True}
    if wrong.get(method) == only_last_conv:
        with pytest.raises(ValidationError, match=f"set only_last_conv: {str(not only_last_conv).lower()}"):
            CamSettings(method=method, only_last_conv=only_last_conv)
    else:
        assert CamSettings(method=method, only_last_conv=only_last_conv).method == method


def test_settings_cannot_be_changed() -> None:
    """What was checked stays as it was checked."""
    settings = Settings.model_validate({})
    with pytest.raises(ValidationError, match="frozen"):
        settings.judge.batch_size = 0


def test_line_names_the_folders_of_the_daemon() -> None:
    """The daemon moves images between five folders; data set and models are not among them."""
    assert set(Paths().line) == {"inbox", "work", "io", "nio", "quarantine"}


def _kinds(names: str, **inbox: object) -> set[str]:
    settings = InboxSettings.model_validate(inbox)
    kinds: set[str] = {settings.kind_of(name) for name in names.split()}
    assert all(settings.admits(name) == (kinds == {"image"}) for name in names.split())
    return kinds


NO_SUFFIX = ["", ".png"]


def test_names_of_images() -> None:
    """An image is what ends in a wanted suffix, in upper or lower case."""
    assert _kinds("a.png A.PNG a.b.Tiff a..png -.png a.png.json.png a.cam.jpg cam.png") == {"image"}


def test_no_suffix_may_be_wanted() -> None:
    """With "" a name without a suffix is an image's, and a DICOM's UID; not what has another suffix."""
    bare = "joint IM0001 1.2.840.113619.2.55 CT.1.2.840.113619.2.55 scan.001"
    assert _kinds(bare, suffixes=NO_SUFFIX) == {"image"}
    assert _kinds(bare) == {"suffix"}
    assert _kinds("notes.txt 1.2.840.xml a.b a.", suffixes=NO_SUFFIX) == {"suffix"}
    assert _kinds("a.png", suffixes=[""]) == {"suffix"}
    assert _kinds("joint.json IM0001.error.json 1.2.840.cam.png 1.2.840.json", suffixes=NO_SUFFIX) == {"sidecar"}


@pytest.mark.parametrize("suffixes", [[".png"], NO_SUFFIX])
def test_names_in_the_course_of_delivery(suffixes: list[str]) -> None:
    """Hidden names, unfinished ones and claimed originals are never images, whatever the suffixes."""
    names = ".png .a.png .hidden .1.2 a.png.part a.part A.PNG.TMP .a.png.Xy12Zq a.png.20260101T000000-ab.claimed"
    assert _kinds(names, suffixes=suffixes) == {"temporary"}


def test_a_done_marker_is_no_image() -> None:
    """The producer's marker is part of its delivery where it is configured, even if it looks like an image's name."""
    assert _kinds("a.png.done A.PNG.DONE", done_marker=".done") == {"temporary"}
    assert _kinds("a.png.ok.png", done_marker=".ok.png") == {"temporary"}
    assert _kinds("a.png.done") == {"suffix"}


def test_our_own_sidecars_are_no_images() -> None:
    """Maps by their name alone, records by the name of an image before it; other people's JSON has no wanted suffix."""
    assert _kinds("a.png.cam.png x.cam.png X.CAM.PNG a.png.json a.tif.json a.png.error.json") == {"sidecar"}
    assert _kinds("lot7.json a.txt.json") == {"suffix"}


def test_links_in_a_circle_are_no_crash(tmp_path: Path) -> None:
    """A folder that links to itself is for the daemon to tell of, not a fault of the configuration."""
    (tmp_path / "inbox").symlink_to("inbox")
    assert Paths(inbox=tmp_path / "inbox").inbox == tmp_path / "inbox"
