"""`solderwatch init`: a new line, and what its files' names are taken for."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.__main__ import main
from settings import load

REPO = Path(__file__).parents[3]
LIKE = ["PCBA1_r01c02_v1.png", "PCBA2_r01c05_v2.png"]
PATTERN = r"(?:^|/)(?P<board>PCBA\d+)_(?P<joint>r\d+c\d+)_(?P<view>v\d+)"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs init as at a terminal where these lines are typed."""

    def run(arguments: list[str], *lines: str) -> int:
        left = iter(lines)
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", lambda _: next(left))
        code = main(["init", *arguments])
        assert next(left, None) is None, "not everything was asked for"
        return code

    return run


def test_a_new_line_is_the_shipped_one(tmp_path: Path) -> None:
    """The configuration is the shipped one with all its comments, and the folders that people fill are there."""
    folder = tmp_path / "new" / "line"
    assert main(["init", str(folder)]) == 0
    assert (folder / "config.yaml").read_bytes() == (REPO / "config.yaml").read_bytes()
    assert all((folder / name).is_dir() for name in ("data/inbox", "dataset/io", "dataset/nio", "models", "logs"))


def test_it_says_what_comes_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three steps, with the folders that they are about; and that names say nothing yet."""
    assert main(["init", str(tmp_path / "line"), "--like", *LIKE]) == 0
    out = capsys.readouterr().out
    assert [line[:4] for line in out.splitlines()[-3:]] == ["  1.", "  2.", "  3."]
    assert f"{tmp_path}/line/dataset/nio" in out
    assert "names.pattern is unset" in out
    assert r"r\d+c\d+ (r01c02, r01c05)" in out


def test_a_pattern_is_written_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was given stands in the configuration; all else is as shipped, and each example says what it means."""
    given = "(?P<board>[^']+'s)_(?P<joint>.*)"
    assert main(["init", str(tmp_path / "line"), "--pattern", given, "--like", "Eve's_j1.png", "x.png"]) == 0
    settings = load(tmp_path / "line" / "config.yaml")
    assert settings.names.pattern == given
    assert settings.training == load(REPO / "config.yaml").training
    out = capsys.readouterr().out
    assert "board Eve's, joint j1.png" in out
    assert "x.png: not matched" in out


def test_products_are_hinted_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where names say the product, the configuration still has to list them."""
    assert main(["init", str(tmp_path / "line"), "--pattern", "(?P<product>[A-Z]+)_"]) == 0
    assert "list the products" in capsys.readouterr().out


def test_somebody_is_asked(tmp_path: Path, typed: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """Each part of the names is asked for, a wrong answer again; what they then say is shown and agreed to."""
    assert typed([str(tmp_path / "line"), "--like", *LIKE], "board", "bord", "joint", "view", "") == 0
    assert load(tmp_path / "line" / "config.yaml").names.pattern == PATTERN
    assert "board PCBA2, joint r01c05, view v2" in capsys.readouterr().out


def test_names_can_be_typed_and_answers_mended(tmp_path: Path, typed: Callable[..., int]) -> None:
    """Without examples they are asked for; whoever disagrees, or names a unit twice, is asked again."""
    answers = [*LIKE, "", "", "joint", "", "n", "joint", "", "joint", "board", "joint", "view", "y"]
    assert typed([str(tmp_path / "line")], *answers) == 0
    assert load(tmp_path / "line" / "config.yaml").names.pattern == PATTERN


def test_whoever_names_nothing_leaves_names_unset(tmp_path: Path, typed: Callable[..., int]) -> None:
    """Enter is an answer."""
    assert typed([str(tmp_path / "line"), "--like", *LIKE], "", "", "") == 0
    assert load(tmp_path / "line" / "config.yaml").names.pattern is None


@pytest.mark.parametrize("where", ["file", "stdin", "dataset"])
def test_examples_come_from_where_they_are(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file, standard input, or the data set that is there already, whose folders are no part of names."""
    folder, arguments = tmp_path / "line", []
    if where == "dataset":
        (folder / "dataset" / "nio").mkdir(parents=True)
        for name in LIKE:
            (folder / "dataset" / "nio" / name).touch()
    else:
        (tmp_path / "names.txt").write_text("\n".join(LIKE))
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(LIKE)))
        arguments = ["--names", "-" if where == "stdin" else str(tmp_path / "names.txt")]
    assert main(["init", str(folder), "--pattern", PATTERN, *arguments]) == 0
    assert "matches 2 of 2 names" in capsys.readouterr().out


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a configuration is, nothing at all is touched."""
    (tmp_path / "config.yaml").write_text("device: cpu\n")
    assert main(["init", str(tmp_path)]) == 1
    assert "stays as it is" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize(
    ("pattern", "why"),
    [("(", "not a regular expression"), ("(?P<bord>x)", "board"), ("a\nb", "cannot be seen")],
)
def test_a_wrong_pattern_is_told_first(
    pattern: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and one line; no line is laid out."""
    assert main(["init", str(tmp_path / "line"), "--pattern", pattern]) == 2
    err = capsys.readouterr().err
    assert why in err
    assert err.count("\n") == 1
    assert not (tmp_path / "line").exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line with the path and why."""
    (tmp_path / "file").touch()
    assert main(["init", str(tmp_path / "file")]) == 1
    err = capsys.readouterr().err
    assert f"{tmp_path}/file/data/inbox: Not a directory" in err
    assert err.count("\n") == 1
