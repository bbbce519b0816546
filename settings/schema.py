"""What config.yaml may say: one typed, immutable section per topic.

Importing this costs no torch, so a wrong configuration is answered at once.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    model_validator,
)

from inspection.errors import ConfigError
from inspection.files import NameKind, kind_of_name
from settings.names import UNITS, Units, units_of
from settings.products import over, product_name, same_folder

CamMethod = Literal[
    "ExcessCAM", "HiResCAM", "XGradCAM", "GradCAM", "GradCAMpp", "SmoothGradCAMpp", "LayerCAM", "FinerCAM", "RefineCAM",
    "CAM",
]  # fmt: skip


def _resolve(path: Path, info: ValidationInfo) -> Path:
    base: Path = (info.context or {}).get("base", Path.cwd())
    try:
        return Path(os.path.normpath(base / path.expanduser()))
    except RuntimeError as error:
        raise ValueError(f"{error}: write the whole path") from None


def _real(path: Path) -> Path:
    """Where a path leads; unlike `resolve` also where links lead in a circle."""
    return Path(os.path.realpath(path))


def _file_name(path: Path) -> Path:
    if path.name in {"", ".."}:
        raise ValueError("names no file; for none write null")
    return path


def _prom(path: Path) -> Path:
    if path.suffix != ".prom":
        raise ValueError("should end in .prom: node_exporter reads no other file")
    return path


def _ending(value: str) -> str:
    if not re.fullmatch(r"\.[\w.]*\w", value):
        raise ValueError("no suffix: write it with its dot, like .png")
    return value


def _suffix(value: str) -> str:
    return value and _ending(value).lower()


def _rising(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] >= value[1]:
        raise ValueError("should rise: [grey level of black, grey level of white]")
    return value


def _regex(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return value


def _names_pattern(value: str) -> str:
    for name in re.compile(_regex(value)).groupindex:
        if name not in UNITS:
            raise ValueError(f"has a group {name!r}; a name's groups are {', '.join(UNITS)}")
    return value


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise ValueError("should be auto, cpu, cuda or cuda:N")
    return value


def _address(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError("no IP address") from None


def _header(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", value):
        raise ValueError("no name of a header, such as X-Remote-User")
    return value.lower()


def _key(value: str) -> str:
    if not re.fullmatch(r"space|[^\W\dA-Z]|[\[\],.;+*#-]", value):
        raise ValueError("should be one key: a small letter, space, or one of [ ] , . ; + * # -")
    return value


def _reasons(value: list[str]) -> list[str]:
    if any(not text.strip() or len(text) > 40 or not text.isprintable() for text in value):
        raise ValueError("a reason is a word or two, of 40 characters at most")
    if len(set(value)) < len(value):
        raise ValueError("a reason stands there twice")
    return value


def _folds(value: object) -> object:
    if value != "auto" and (type(value) is not int or value not in {0, *range(2, 21)}):
        raise ValueError("should be auto, 0 for none, or 2 to 20: one fold would leave nothing to fit to")
    return value


def _image_size(value: object) -> object:
    if value != "auto" and (type(value) is not int or not 32 <= value <= 1024 or value % 16):
        raise ValueError("should be auto, or 32 to 1024 and a multiple of 16")
    return value


def _number_like(value: object) -> object:
    """YAML 1.1 reads 100_000_000 as a number but 1e-3 as text; take both."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d+)?e[+-]?\d+", value, re.IGNORECASE):
        return float(value)
    return value


ConfigPath = Annotated[Path, Field(strict=False), AfterValidator(_resolve)]
FilePath = Annotated[Path, Field(strict=False), AfterValidator(_file_name), AfterValidator(_resolve)]
PromPath = Annotated[FilePath, AfterValidator(_prom)]
Address = Annotated[str, AfterValidator(_address)]
Header = Annotated[str, AfterValidator(_header)]
Key = Annotated[str, AfterValidator(_key)]
Reasons = Annotated[list[str], Field(min_length=1, max_length=9), AfterValidator(_reasons)]
Device = Annotated[str, AfterValidator(_device)]
Ending = Annotated[str, AfterValidator(_ending)]
Suffix = Annotated[str, AfterValidator(_suffix)]
NamesPattern = Annotated[str, AfterValidator(_names_pattern)]
Regex = Annotated[str, AfterValidator(_regex)]
ProductName = Annotated[str, BeforeValidator(product_name)]
Share = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
ImageSize = Annotated[Literal["auto"] | int, BeforeValidator(_image_size)]
Folds = Annotated[Literal["auto"] | int, BeforeValidator(_folds)]
Rate = Annotated[float, BeforeValidator(_number_like)]
FloatRange = Annotated[tuple[Rate, Rate], Field(strict=False), AfterValidator(_rising)]


CURRENT = "current"
"""The link in the models folder that names the model in use."""

RELABELLED = "relabelled.jsonl"
"""In the data set's folder: what operators said of verdicts, a JSON line each."""


class Section(BaseModel):
    """Refuses unknown keys and silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True, allow_inf_nan=False)


class Paths(Section):
    """Folders, and the ledger's file; relative ones are relative to the configuration file."""

    inbox: ConfigPath = Path("data/inbox")
    io: ConfigPath = Path("data/io")
    nio: ConfigPath = Path("data/nio")
    quarantine: ConfigPath = Path("data/quarantine")
    work: ConfigPath = Path("data/work")
    dataset: ConfigPath = Path("dataset")
    models: ConfigPath = Path("models")
    boards: ConfigPath = Path("data/boards")
    ledger: FilePath = Path("data/ledger.db")

    @property
    def folders(self) -> dict[str, Path]:
        """All folders, by name."""
        return {name: path for name, path in self if name != "ledger"}

    @property
    def line(self) -> dict[str, Path]:
        """The folders between which the daemon moves images, by name."""
        return {name: getattr(self, name) for name in ("inbox", "work", "io", "nio", "quarantine")}

    @model_validator(mode="after")
    def _apart(self) -> Paths:
        folders = [(name, _real(path)) for name, path in self.folders.items()]
        for name, path in folders:
            for other, other_path in folders:
                if name < other and path == other_path:
                    raise ValueError(f"{name} and {other} are the same folder, {path}: give each its own")
                if name != other and path.is_relative_to(other_path) and path != other_path:
                    raise ValueError(f"{name} ({path}) lies inside {other} ({other_path}): put them side by side")
        return self


class InboxSettings(Section):
    """Which files are images, and when they are done being written."""

    suffixes: Annotated[list[Suffix], Field(min_length=1)] = [
        ".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg", ".dcm",
    ]  # fmt: skip
    admission: Literal["auto", "lease", "quiet"] = "auto"
    quiet_s: Annotated[float, Field(gt=0, le=3600)] = 3.0
    scan_s: Annotated[float, Field(gt=0, le=3600)] = 5.0
    done_marker: Ending | None = None
    max_file_mb: Annotated[int, Field(gt=0)] = 512
    max_pixels: Annotated[int, Field(gt=0)] = 100_000_000
    max_pages: Annotated[int, Field(gt=0, le=10_000)] = 64
    float_range: FloatRange | None = None
    _board_marker: str | None = PrivateAttr(None)
    """`boards.complete.marker`: such a file in the inbox is no image either."""

    def admits(self, name: str) -> bool:
        """Whether a file of that name is an image; `""` admits names without a suffix, and DICOM's UIDs."""
        return self.kind_of(name) == "image"

    def kind_of(self, name: str) -> NameKind:
        """What a file of that name is."""
        return kind_of_name(name, self.suffixes, [end for end in (self.done_marker, self._board_marker) if end])

    @model_validator(mode="after")
    def _marker_is_no_image(self) -> InboxSettings:
        if self.done_marker and self.done_marker.lower() in self.suffixes:
            raise ValueError(f"done_marker {self.done_marker} is one of the suffixes: choose another, such as .done")
        return self


class JudgeSettings(Section):
    """How many images a GPU judges together, how often an image may kill the program, and how many models are kept."""

    batch_size: Annotated[int, Field(ge=1, le=64)] = 8
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    models_in_memory: Annotated[int, Field(ge=1, le=1000)] = 8


class DiskSettings(Section):
    """How full the disk may become, and what may be deleted to keep it so."""

    min_free_mb: Annotated[int, Field(ge=0)] = 200
    keep_io_days: Annotated[float, Field(gt=0)] | None = None
    keep_io_gb: Annotated[float, Field(gt=0)] | None = None


class DriftSettings(Section):
    """The watch over whether the line still is what the model was trained for."""

    watch: bool = True
    nio_share: Share | None = None


class CamSettings(Section):
    """The class activation map beside each image."""

    method: CamMethod = "ExcessCAM"
    only_last_conv: bool = True

    @model_validator(mode="after")
    def _layers_fit_the_method(self) -> CamSettings:
        if self.method in {"CAM", "ExcessCAM"} and not self.only_last_conv:
            raise ValueError(
                f"{self.method} is defined on the last convolution alone: set only_last_conv: true, or choose LayerCAM"
            )
        if self.method == "RefineCAM" and self.only_last_conv:
            raise ValueError(
                "RefineCAM refines over several convolutions: set only_last_conv: false, or choose LayerCAM"
            )
        return self


class LogSettings(Section):
    """Where the log lines go."""

    file: FilePath | None = Path("logs/decisions.jsonl")
    format: Literal["auto", "json", "console"] = "auto"


class MetricsSettings(Section):
    """Where Prometheus finds the daemon's metrics."""

    file: PromPath | None = None


class Unseen(Section):
    """How many images are set aside before anything else."""

    io: Annotated[int, Field(ge=0)] = 15
    nio: Annotated[int, Field(ge=0)] = 11


class GateSettings(Section):
    """How much worse than the model in use a new one may be and still replace it."""

    recall_tolerance: Annotated[float, Field(ge=0, le=1)] = 0.0
    false_call_tolerance: Annotated[float, Field(ge=0, le=1)] = 0.005
    cost_limit: Annotated[float, Field(ge=1)] = 2.0
    most_false_calls: Annotated[float, Field(gt=0, le=1)] = 0.5


class NamesSettings(Section):
    """What the files' names say."""

    pattern: NamesPattern | None = None

    def units(self, path: PurePath) -> Units:
        """What the name of a file says, by its path below the inbox, or below `io` and `nio` of a data set."""
        return units_of(path, self.pattern)


class CompleteSettings(Section):
    """When no more images of a board are waited for: one or several, the first that holds.

    Attributes:
        marker: The producer puts a file <board><marker> anywhere into the inbox, after the board's last image.
        joints: So many joints have come, each with `views` images.
        views: Images of each joint; say it, or a board is complete before its last views.
        quiet_s: None was judged for so many seconds, and none waits in the inbox.
    """

    marker: Ending | None = None
    joints: Annotated[int, Field(ge=1)] | None = None
    views: Annotated[int, Field(ge=1)] = 1
    quiet_s: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _says_when(self) -> CompleteSettings:
        if self.marker is None and self.joints is None and self.quiet_s is None:
            raise ValueError("says nothing: write marker, joints or quiet_s, or complete: null for no boards")
        return self


class BoardSettings(Section):
    """Whether boards are kept account of, and when a serial number that comes again is another run."""

    complete: CompleteSettings | None = None
    again_after_h: Annotated[float, Field(gt=0)] = 72.0


class TrainingSettings(Section):
    """How a model is made from the labelled folders."""

    image_size: ImageSize = 256
    max_minutes: Annotated[float, Field(gt=0)] = 60.0
    architecture: Literal["residual", "plain"] = "residual"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    unseen: Unseen = Unseen()
    test_share: Share = 0.2
    validation_share: Share = 0.2
    max_unreadable: Annotated[int, Field(ge=0)] = 10
    folds: Folds = "auto"
    required_recall: Annotated[float, Field(gt=0, le=1)] = 0.99
    escape_cost: Annotated[float, Field(gt=0, le=1e6)] = 80.0
    nio_share: Annotated[float, Field(gt=0, lt=1)] = 0.01
    unidentified_budget: Annotated[float, Field(gt=0, lt=1)] = 0.005
    augment_io: bool = True
    vertical_flip: Probability = 0.6
    batch_size: Annotated[int, Field(ge=2)] = 32
    workers: Annotated[int, Field(ge=0, le=64)] = 0
    epochs: Annotated[int, Field(ge=1)] = 120
    draws: Annotated[int, Field(ge=1)] = 35_000
    patience: Annotated[int, Field(ge=1)] = 40
    optimizer: Literal["adamw", "adam"] = "adamw"
    learning_rate: Annotated[Rate, Field(gt=0, lt=1)] = 0.002
    weight_decay: Annotated[Rate, Field(ge=0, lt=1)] = 0.01
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    reconstruction_weight: Annotated[Rate, Field(ge=0)] = 1.0
    gate: GateSettings = GateSettings()

    @property
    def pixels(self) -> int:
        """The image size where it is a number: `training.fitting.sizes.sized` makes it one."""
        if self.image_size == "auto":
            raise ConfigError("training.image_size: auto was not chosen yet")
        return self.image_size


class HotkeySettings(Section):
    """What each key of the operator's page does; 1 to 9 are the reasons, ? shows all."""

    defect: Key = "n"
    good: Key = "i"
    skip: Key = "space"
    undo: Key = "u"
    comment: Key = "c"
    dispute: Key = "d"
    map: Key = "m"
    magnifier: Key = "l"
    darker: Key = "["
    brighter: Key = "]"
    reset: Key = "r"

    @model_validator(mode="after")
    def _differ(self) -> HotkeySettings:
        said: dict[str, str] = {}
        for name, key in self:
            if key in said:
                raise ValueError(f"{said[key]} and {name} are the same key, {key}: give each its own")
            said[key] = name
        return self


class TlsSettings(Section):
    """The plant's own certificate, for a page that others than this computer may open.

    Attributes:
        certificate: File of the certificate and what vouches for it, PEM.
        key: File of its private key, PEM.
    """

    certificate: FilePath
    key: FilePath


class ProxySettings(Section):
    """A proxy that signs people in, and says in a header who it is.

    Attributes:
        header: Names who is signed in.
        addresses: The proxy's; whoever comes from another one is refused.
    """

    header: Header = "X-Remote-User"
    addresses: Annotated[list[Address], Field(min_length=1)] = ["127.0.0.1"]


class ReviewSettings(Section):
    """The operator's page.

    Attributes:
        check_io: So many io images for each nio image are shown as well, without saying so.
        repeat: So many images for each nio image are shown again, without saying so.
        layout: CSV of joint, x, y; None: the names of joints say where they are, such as r2c5.
    """

    folder: ConfigPath = Path("data/review")
    reasons: Reasons = ["void", "bridge", "missing", "insufficient", "head-in-pillow", "misalignment", "other"]
    check_io: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    repeat: Annotated[float, Field(ge=0, le=0.5)] = 0.01
    layout: FilePath | None = None
    hotkeys: HotkeySettings = HotkeySettings()
    tls: TlsSettings | None = None
    behind_proxy: ProxySettings | None = None


class Product(Section):
    """A type of board or package, which has a model of its own.

    Attributes:
        match: A file is one of this product if this is found in its path below the inbox; None: if the group `product`
            of `names.pattern` is the product's name.
        training: What differs from the line's `training`.
        reasons: Instead of the line's `review.reasons`.
    """

    match: Regex | None = None
    training: TrainingSettings = TrainingSettings()
    reasons: Reasons | None = None

    @model_validator(mode="before")
    @classmethod
    def _nothing_differs(cls, content: object) -> object:
        """A product, or what differs of it, may be left empty, which YAML reads as null."""
        if content is None:
            return {}
        if isinstance(content, dict) and "training" in content and content["training"] is None:
            return {key: value for key, value in content.items() if key != "training"}
        return content


class Settings(Section):
    """Everything that config.yaml says."""

    paths: Paths
    device: Device = "auto"
    runtime: Literal["auto", "torch", "openvino", "openvino-bf16"] = "auto"
    inbox: InboxSettings
    names: NamesSettings
    boards: BoardSettings
    judge: JudgeSettings
    disk: DiskSettings
    cam: CamSettings
    drift: DriftSettings
    logs: LogSettings
    metrics: MetricsSettings
    review: ReviewSettings
    training: TrainingSettings
    products: dict[ProductName, Product]

    def products_of(self, path: PurePath) -> Iterator[str]:
        """Every product that a file is taken for, by its path below the inbox; the first one has it."""
        said: str | None = None
        if self.products:
            said = self.names.units(path).product
        for name, product in self.products.items():
            if re.search(product.match, path.as_posix()) if product.match is not None else name == said:
                yield name

    def reasons_of(self, product: str) -> list[str]:
        """What an operator may say is wrong with images of a product; for one that we do not know, the line's."""
        found = self.products.get(product)
        return (found and found.reasons) or self.review.reasons

    def product_of(self, path: PurePath) -> str | None:
        """The product that a file is of, by its path below the inbox.

        The first in the configuration's order that takes it; None if none does, and on a line without products.
        """
        return next(self.products_of(path), None)

    def of_product(self, name: str | None) -> Settings:
        """The settings as a line has them that makes this product alone: its data set, its models, its training.

        Args:
            name: Of the product; None on a line without products, where these are the settings as they are.

        Raises:
            ConfigError: There is no such product.
        """
        if name is None and not self.products:
            return self
        product = self.products.get(name) if name else None
        if name is None or product is None:
            known = f"the products are {', '.join(self.products)}" if self.products else "there are no products"
            raise ConfigError(f"products: no product {name!r}; {known}")
        folders = {"dataset": self.paths.dataset / name, "models": self.paths.models / name}
        return self.model_copy(
            update={
                "paths": self.paths.model_copy(update=folders),
                "training": over(self.training, product.training),
                "products": {},
            }
        )

    @model_validator(mode="after")
    def _products_can_be_told_apart(self) -> Settings:
        if twice := same_folder(self.products):
            raise ValueError(f"products: {twice[0]} and {twice[1]} may be one folder: let more than their case differ")
        if "product" in re.compile(self.names.pattern or "").groupindex:
            return self
        for name, product in self.products.items():
            if product.match is None:
                raise ValueError(
                    f"products.{name}: nothing says which files are of it: give it match: <regular expression>, "
                    "or names.pattern a group (?P<product>...)"
                )
        return self

    @model_validator(mode="before")
    @classmethod
    def _left_out_sections_are_defaults(cls, content: dict[str, object]) -> dict[str, object]:
        """A section may be left out, or have all its keys commented out, which YAML reads as null."""
        sections = [name for name in cls.model_fields if name not in {"device", "runtime"}]
        return content | {name: {} for name in sections if content.get(name) is None}

    @model_validator(mode="after")
    def _boards_have_names(self) -> Settings:
        complete = self.boards.complete
        if complete is None:
            return self
        groups = re.compile(self.names.pattern or "").groupindex
        for group, wanted_by in (("board", "boards.complete"), *([("joint", "joints")] if complete.joints else [])):
            if group not in groups:
                raise ValueError(f"{wanted_by} needs a group {group!r} in names.pattern: (?P<{group}>...)")
        marker = complete.marker
        if marker and marker.lower() in {*self.inbox.suffixes, (self.inbox.done_marker or "").lower()}:
            raise ValueError(f"boards.complete.marker {marker} is inbox.done_marker, or one of inbox.suffixes")
        self.inbox._board_marker = marker  # noqa: SLF001 - one file, one truth
        return self

    @model_validator(mode="after")
    def _files_are_apart(self) -> Settings:
        files = {"paths.ledger": self.paths.ledger, "logs.file": self.logs.file, "metrics.file": self.metrics.file}
        files["review.folder"] = self.review.folder
        there = {key: _real(file) for key, file in files.items() if file}
        for key, file in there.items():
            for name, path in self.paths.folders.items():
                if file.is_relative_to(_real(path)):
                    raise ValueError(f"{key} ({files[key]}) lies in paths.{name}: put it into a folder of its own")
            for other, other_file in there.items():
                if key < other and file == other_file:
                    raise ValueError(f"{key} and {other} are the same file, {file}: give each its own")
        return self
