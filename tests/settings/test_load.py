"""What `settings.load` promises: every mistake is named, and nothing but a right configuration passes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from inspection.errors import ConfigError
from settings import Settings, load

SHIPPED = Path(__file__).parents[2] / "config.yaml"
FOLDERS = {
    "inbox": "data/inbox",
    "io": "data/io",
    "nio": "data/nio",
    "quarantine": "data/quarantine",
    "work": "data/work",
    "dataset": "dataset",
    "models": "models",
    "boards": "data/boards",
}

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a text as config.yaml in a folder of its own."""

    def write_config(text: str) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_config


def complaint(path: Path) -> str:
    """What `load` says about a wrong file."""
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value)


def keys(content: object, prefix: str = "") -> set[str]:
    """Every key path below parsed YAML or a section of the schema."""
    if isinstance(content, BaseModel):
        content = dict(content)
    if not isinstance(content, dict):
        return {prefix}
    return {path for name, value in content.items() for path in keys(value, f"{prefix}.{name}".lstrip("."))}


class TestShipped:
    """config.yaml as it is shipped."""

    def test_says_the_defaults(self, tmp_path: Path, write: Write) -> None:
        """What stands in the shipped file is what holds without it."""
        shutil.copy(SHIPPED, tmp_path / "shipped.yaml")
        assert load(tmp_path / "shipped.yaml") == load(write(""))

    def test_names_every_key(self, write: Write) -> None:
        """Each key of the schema stands in the shipped file, and no other."""
        assert keys(yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))) == keys(load(write("")))

    def test_explains_every_key(self) -> None:
        """Each key of the training and of the inbox has a comment beside it, but for one that YAML words explain."""
        lines = SHIPPED.read_text(encoding="utf-8").splitlines()
        silent = {line.split(":")[0].strip() for line in lines if ": " in line and "#" not in line}
        assert silent <= {"suffixes", "learning_rate", "dropout"}

    def test_a_copy_in_an_empty_folder_works(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its folders lie beside the copy, wherever the program was started."""
        home = tmp_path / "home"
        home.mkdir()
        shutil.copy(SHIPPED, home)
        monkeypatch.chdir(tmp_path)
        settings = load(Path("home") / "config.yaml")
        assert {name: path.relative_to(home).as_posix() for name, path in settings.paths.folders.items()} == FOLDERS
        assert settings.logs.file == home / "logs/decisions.jsonl"


class TestPaths:
    """Relative paths are relative to the file."""

    @pytest.mark.parametrize("text", ["", "device: cpu\n", "paths:\nlogs:\n", "paths: {}\n", "paths: {io: data/io}\n"])
    def test_defaults_are_beside_the_file(
        self, text: str, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A section left out, emptied or commented out means the same folders, whatever the working directory."""
        path = write(text)
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        settings = load(path)
        assert {
            name: folder.relative_to(tmp_path).as_posix() for name, folder in settings.paths.folders.items()
        } == FOLDERS
        assert settings.logs.file == tmp_path / "logs/decisions.jsonl"

    def test_absolute_and_home_paths_stay(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        """An absolute path is taken as it is, and ~ is the home folder."""
        monkeypatch.setenv("HOME", "/home/somebody")
        paths = load(write("paths: {inbox: /mnt/axi, models: ~/models}\n")).paths
        assert (paths.inbox, paths.models) == (Path("/mnt/axi"), Path("/home/somebody/models"))

    def test_no_log_file(self, write: Write) -> None:
        """`file: null` means standard output only."""
        assert load(write("logs: {file: null}\n")).logs.file is None

    @pytest.mark.parametrize(
        ("paths", "said"),
        [
            ("{inbox: a, io: a}", "inbox and io are the same folder"),
            ("{io: b/, nio: ./b}", "io and nio are the same folder"),
            ("{inbox: data}", "lies inside inbox"),
            ("{io: data/inbox/io}", "io ("),
            ("{models: dataset/models}", "lies inside dataset"),
            ("{work: .}", "lies inside work"),
            pytest.param("{inbox: data/x/../io}", "the same folder"),
            pytest.param("{inbox: data/x/../nio/new}", "inside nio"),
        ],
    )
    def test_folders_stay_apart(self, paths: str, said: str, write: Write) -> None:
        """Two folders that are one, or one in the other, are refused with both names."""
        assert said in complaint(write(f"paths: {paths}\n"))


class TestMistakes:
    """A wrong value never passes in silence, and its message says where it stands."""

    def test_all_at_once(self, write: Write) -> None:
        """Every mistake has one line with the file, the key path and the value that stands there."""
        path = write(
            "device: gpu\n"
            "paths: {io: 5}\n"
            "inbox: {quiet_s: 0, suffixes: [.png, tif]}\n"
            "judge: {batch_size: '8'}\n"
            "training: {image_size: 100, unseen: {oi: 2}, }\n"
            "names: {pattern: '('}\n"
        )
        lines = complaint(path).splitlines()
        expected = {
            "device: 'gpu'": "auto, cpu, cuda or cuda:N",
            "paths.io: 5": "path",
            "inbox.quiet_s: 0": "greater than 0",
            "inbox.suffixes.1: 'tif'": "dot",
            "judge.batch_size: '8'": "integer",
            "training.image_size: 100": "multiple of 16",
            "training.unseen.oi": "did you mean 'io'?",
            "names.pattern: '('": "regular expression",
        }
        assert len(lines) == len(expected)
        for where, what in expected.items():
            (line,) = [line for line in lines if line.startswith(f"{path}: {where}:")]
            assert what in line

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("devise: cpu", "devise: unknown key; did you mean 'device'?"),
            ("paths: {inbx: a}", "paths.inbx: unknown key; did you mean 'inbox'?"),
            ("inbox: {suffix: [.png]}", "inbox.suffix: unknown key; did you mean 'suffixes'?"),
            ("training: {unseen: {oi: 3}}", "training.unseen.oi: unknown key; did you mean 'io'?"),
            ("cam: {only_last_layer: true}", "did you mean 'only_last_conv'?"),
            ("judge: {zzz: 1}", "judge.zzz: unknown key; known here: batch_size, max_attempts"),
        ],
    )
    def test_misspelt_keys(self, text: str, said: str, write: Write) -> None:
        """An unknown key is refused and told the nearest right one, else all of its section."""
        assert said in complaint(write(text))

    @pytest.mark.parametrize(
        ("section", "value"),
        [
            ("device", value)
            for value in ("gpu", "CPU", "'cuda:'", "cuda:-1", "'cuda:0 '", "0", "null", "true", "[cpu]", '"cpu\\n"')
        ]
        + [(f"paths.{name}", value) for name in ("inbox", "models") for value in ("3", "null", "[a]", "{a: b}")]
        + [("inbox.suffixes", value) for value in ("[]", ".png", "[png]", "['*.png']", "['.']", "[3]", "[./png]")]
        + [("inbox.admission", value) for value in ("fast", "Auto", "null")]
        + [("inbox.quiet_s", value) for value in ("0", "-1", "'3'", "3 s", ".nan", ".inf", "1e9", "null", "true")]
        + [("inbox.scan_s", value) for value in ("0", "4000.0")]
        + [("inbox.done_marker", value) for value in ("done", "5", "''")]
        + [("inbox.max_file_mb", value) for value in ("0", "1.5", "true")]
        + [("inbox.max_pixels", value) for value in ("0", "1e8")]
        + [("judge.batch_size", value) for value in ("0", "1025", "'8'", "8.0")]
        + [("judge.max_attempts", value) for value in ("0", "101")]
        + [("cam.method", value) for value in ("xgradcam", "ScoreCAM", "null")]
        + [("cam.only_last_conv", value) for value in ("1", "'true'", "null")]
        + [("logs.file", value) for value in ("5", "[a]")]
        + [("logs.format", "text")]
        + [("training.image_size", value) for value in ("16", "100", "1040", "256.0")]
        + [("training.architecture", "resnet")]
        + [("training.seed", value) for value in ("-1", "4294967296", "0.5", "true")]
        + [("names.pattern", value) for value in ("'('", "5", "'(?P<bord>x)'")]
        + [("training.unseen", value) for value in ("5", "[1, 2]", "{io: -1}", "{nio: 1.5}")]
        + [
            (f"training.{name}", value)
            for name in ("test_share", "validation_share")
            for value in ("0", "1", "-0.1", ".nan")
        ]
        + [("metrics.file", value) for value in ("metrics.txt", "..", "5")]
        + [("training.required_recall", value) for value in ("0", "1.01", "99", ".nan")]
        + [("training.vertical_flip", value) for value in ("-0.1", "1.1", "true")]
        + [("training.batch_size", "1"), ("training.workers", "-1"), ("training.epochs", "0")]
        + [("training.patience", "0"), ("training.optimizer", "sgd"), ("training.max_unreadable", "-1")]
        + [("training.learning_rate", value) for value in ("0", "1", "-1e-3", "1e", ".nan")]
        + [("training.weight_decay", value) for value in ("-1e-3", "1")]
        + [("training.dropout", value) for value in ("1", "-0.1", ".nan")]
        + [("training.reconstruction_weight", value) for value in ("-1", ".nan")]
        + [pytest.param("training.reconstruction_weight", ".inf")],
    )
    def test_wrong_values(self, section: str, value: str, write: Write) -> None:
        """A value of the wrong type, or one that cannot be, is refused by its key path; nothing is converted."""
        *outer, key = section.split(".")
        text = f"{key}: {value}" if not outer else f"{outer[0]}:\n  {key}: {value}"
        assert f"config.yaml: {section}" in complaint(write(text + "\n"))

    @pytest.mark.parametrize("section", ["paths", "inbox", "judge", "cam", "logs", "metrics", "training"])
    @pytest.mark.parametrize("value", ["5", "text", "[1, 2]", "true"])
    def test_sections_are_sections(self, section: str, value: str, write: Write) -> None:
        """Something else where a section belongs is named, in words that a YAML writer knows."""
        assert f"{section}: " in (said := complaint(write(f"{section}: {value}\n")))
        assert "section of 'key: value' lines" in said

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("device: cpu\ndevice: auto\n", 2),
            ("paths:\n  io: a\n  inbox: b\n  io: c\n", 4),
            ("training:\n  epochs: 3\n  'epochs': 4\n", 3),
            ("training: {unseen: {io: 3, io: 4}}\n", 1),
        ],
    )
    def test_duplicate_keys(self, text: str, line: int, write: Write) -> None:
        """A key that is written twice is refused with the line of the second; YAML itself would keep the last."""
        assert f"line {line}:" in (said := complaint(write(text)))
        assert "stands there twice" in said

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("paths: {inbox: a\ndevice: cpu\n", 2),
            ("device: cpu\npaths:\n\tinbox: a\n", 3),
            ("device: 'cpu\n", 2),
            ("device: cpu\n---\ndevice: cpu\n", 2),
            ("device: !!python/object/apply:os.getcwd []\n", 1),
            ("device: cpu\ninbox: *nowhere\n", 2),
        ],
    )
    def test_broken_yaml(self, text: str, line: int, write: Write) -> None:
        """What is no YAML, or wants to run code, is refused with the number of its line."""
        assert f"line {line}: not valid YAML" in complaint(write(text))

    @pytest.mark.parametrize("text", ["- a\n- b\n", "5\n", "just a sentence\n", "true\n"])
    def test_not_a_mapping(self, text: str, write: Write) -> None:
        """A file of something else than sections is refused."""
        assert "not sections of 'key: value'" in complaint(write(text))

    @pytest.mark.parametrize("text", ["1: 2\n", "paths: {1: a}\n", "~: 3\n", "inbox: {no: 3}\n"])
    def test_keys_that_are_no_text(self, text: str, write: Write) -> None:
        """A key that YAML reads as a number, nothing or a truth value is refused, not looked up."""
        assert "keys should be strings" in complaint(write(text))

    @pytest.mark.parametrize(
        "text",
        [
            "device: \x01\n",
            "paths: &p\n  inbox: *p\n",
            "inbox: {quiet_s: 2024-02-20}\n",
            pytest.param("? [a, b]\n: c\n"),
            pytest.param("paths: {inbox: 2024-02-30}\n"),
            pytest.param("paths: {inbox: ~nobody-of-this-name/inbox}\n"),
            pytest.param("device: " + "[" * 1000 + "]" * 1000 + "\n"),
            pytest.param("logs: {file: ''}\n"),
            pytest.param("logs: {file: data/inbox}\n"),
            pytest.param("metrics: {file: data/io/line.prom}\n"),
        ],
        ids=lambda text: text[:24],
    )
    def test_oddities_are_told_not_thrown(self, text: str, write: Write) -> None:
        """Whatever YAML makes of a file, what is wrong with it comes as a ConfigError that names the file."""
        path = write(text)
        assert complaint(path).startswith(f"{path}:")

    def test_missing_file(self, tmp_path: Path) -> None:
        """A missing file is named, with the option that names another."""
        said = complaint(tmp_path / "config.yaml")
        assert str(tmp_path / "config.yaml") in said
        assert "--config" in said

    def test_a_link_to_a_missing_file(self, tmp_path: Path) -> None:
        """A configuration that is a link to nothing is told as that, with where it leads."""
        (tmp_path / "config.yaml").symlink_to("line7.yaml")
        assert "config.yaml: a link to line7.yaml, which is not there" in complaint(tmp_path / "config.yaml")

    @pytest.mark.parametrize("content", ["device: cpu # gr\xfcn\n".encode("latin-1"), "device: cpu\n".encode("utf-16")])
    def test_not_utf8(self, content: bytes, tmp_path: Path) -> None:
        """Text in another encoding is refused, not guessed."""
        path = tmp_path / "config.yaml"
        path.write_bytes(content)
        assert "cannot be read: this is no text in UTF-8" in complaint(path)

    def test_a_folder_is_no_file(self, tmp_path: Path) -> None:
        """A folder in place of the file is told, not thrown."""
        assert complaint(tmp_path).endswith("cannot be read: Is a directory; name a file")

    def test_tabs_are_told(self, write: Write) -> None:
        """Whoever indents with tabs is told what YAML wants."""
        assert "line 2: not valid YAML" in (said := complaint(write("inbox:\n\tscan_s: 3\n")))
        assert said.endswith("indent with blanks, not with tabs")


class TestTaken:
    """What a careful writer may write."""

    @pytest.mark.parametrize("text", ["", "\n# nothing yet\n", "{}\n", "---\n...\n", "\ufeffdevice: auto\n"])
    def test_nothing_said_is_all_defaults(self, text: str, write: Write, tmp_path: Path) -> None:
        """An empty file is a whole configuration; an editor's byte order mark is no part of it."""
        assert load(write(text)) == Settings.model_validate({}, context={"base": tmp_path})

    @pytest.mark.parametrize(
        ("text", "value"), [("1e-3", 0.001), ("2E-4", 0.0002), ("0.01", 0.01), ("1.5e-05", 1.5e-5)]
    )
    def test_exponents_without_a_point(self, text: str, value: float, write: Write) -> None:
        """1e-3 is the number that everybody means, though YAML 1.1 reads it as text."""
        assert load(write(f"training: {{learning_rate: {text}}}\n")).training.learning_rate == value

    def test_whole_numbers_are_numbers(self, write: Write) -> None:
        """3 seconds need no point, and pixels may be written with underscores."""
        inbox = load(write("inbox: {quiet_s: 3, max_pixels: 1_000_000, suffixes: [.PNG, .ome.tif]}\n")).inbox
        assert (inbox.quiet_s, inbox.max_pixels, inbox.suffixes) == (3.0, 1_000_000, [".png", ".ome.tif"])


def test_loading_costs_no_torch(write: Write) -> None:
    """A wrong configuration is answered at once: reading one imports neither torch nor numpy."""
    code = (
        "import sys, pathlib, settings\n"
        "settings.load(pathlib.Path(sys.argv[1]))\n"
        "print(sorted({'torch', 'torchcam', 'torchvision', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(write("device: cpu\n"))]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "[]\n"
