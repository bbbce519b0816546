"""What the typed settings promise apart from reading them from a file."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from inspection import cam
from settings.schema import CamMethod, CamSettings, Paths, Settings

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
