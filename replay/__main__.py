"""The command line of the replay. Nothing heavy is imported before it is needed: wrong input is answered at once."""

from __future__ import annotations

import argparse
import signal
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from inspection.errors import ConfigError, SolderwatchError, in_words
from settings import Settings, load

_KINDS = ("disputed", "changed", "near")
_NEEDED = ("jinja2", "pyarrow", "ray")
_HELP = """\
Judge an archive again, exactly as the daemon would, and say what would change.

Reads the images of one or more folders, or those that the line's ledger finds; nothing there is changed, moved or
locked. Writes into the folder --out: results/ (Parquet, by product and day), unread.parquet (images that could not be
judged, and why), summary.json, and index.html, which needs no other file. Ray does the work, on the cores and GPUs of
this machine or of a cluster.
"""
_EPILOG = """\
examples:
  solderwatch-replay data/io data/nio --out replay           the model in use against the records' verdicts
  solderwatch-replay --since 2026-01-01 --out year           what the ledger knows since then
  solderwatch-replay data --model models/NEW --against models/current --out new-against-old
  solderwatch-replay 's3://axi/2026?endpoint_override=store:9000&scheme=http' --out replay
  solderwatch-replay data --out replay --resume --to-dataset dataset --pick disputed,near
  solderwatch-replay data --out replay --resume              go on after Ctrl-C, a crash, a full disk
  solderwatch-replay data --out replay --address auto        on the cluster that `ray start` made

exit codes: 0 done; 1 failed; 2 the command line or the configuration is wrong
"""


def main(argv: list[str] | None = None) -> int:
    """Run a replay; the exit code tells how it went."""
    arguments = command_line().parse_args(argv)
    try:
        settings = load(arguments.config)
        _check(arguments, settings)
        _run(arguments, settings)
    except SolderwatchError as error:
        print(f"solderwatch-replay: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"solderwatch-replay: {in_words(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("solderwatch-replay: stopped; the same command with --resume goes on", file=sys.stderr)
        return 1
    return 0


def _run(arguments: argparse.Namespace, settings: Settings) -> None:
    """SIGTERM ends a replay as Ctrl-C does."""
    from replay.command import run  # noqa: PLC0415 - imports torch and Ray

    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        run(arguments, settings)
    finally:
        signal.signal(signal.SIGTERM, before)


def command_line() -> argparse.ArgumentParser:
    """What reads the command line."""
    parser = argparse.ArgumentParser(
        "solderwatch-replay", description=_HELP, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("archives", nargs="*", metavar="ARCHIVE", help="a folder or URI; without any the ledger is asked")
    add("--out", type=Path, required=True, metavar="FOLDER", help="where the results go")
    add(
        "--model", type=Path, metavar="FOLDER", help="who judges: a model, or a folder of models; default: paths.models"
    )
    add("--against", type=Path, metavar="FOLDER", help="who is compared with; default: the records' verdicts")
    add("--product", metavar="NAME", help="only this one's images")
    add("--since", type=_moment, metavar="TIME", help="of the ledger: judged from then on, such as 2026-01-31")
    add("--until", type=_moment, metavar="TIME", help="of the ledger: judged before then")
    add("--board", metavar="NUMBER", help="of the ledger: only this board's")
    add(
        "--maps", choices=("changed", "nio", "all", "none"), default="changed", help="of which images; default: changed"
    )
    add("--to-dataset", type=Path, metavar="FOLDER", help="copy images worth a label into FOLDER/unlabelled")
    add("--pick", type=_kinds, default=list(_KINDS), metavar="KINDS", help=f"which; default: {','.join(_KINDS)}")
    add("--per-joint", type=_positive(int), default=5, metavar="N", help="at most so many of one joint; default: 5")
    add("--resume", action="store_true", help="go on with the replay in --out; judges only what is missing")
    add("--address", metavar="ADDRESS", help="of a Ray cluster; default: Ray is started on this machine")
    add("--actors", type=_positive(int), metavar="N", help="how many judge, each on a core; default: all cores")
    add("--gpus", type=_positive(float), metavar="SHARE", help="of a GPU for each; default: all GPUs, shared evenly")
    add("--config", type=Path, default=Path("config.yaml"), metavar="PATH", help="default: ./config.yaml")
    add("--version", action="version", version=f"%(prog)s {version('solderwatch')}")
    return parser


def _check(arguments: argparse.Namespace, settings: Settings) -> None:
    """Answer at once what cannot be done.

    Raises:
        ConfigError: It says what.
    """
    if arguments.archives:
        for option in ("since", "until", "board"):
            if getattr(arguments, option) is not None:
                raise ConfigError(f"--{option}: asks the ledger: leave the folders out, or the option")
    if arguments.product is not None and settings.products:
        settings.of_product(arguments.product)
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise ConfigError(f"a replay needs {', '.join(missing)}: install solderwatch[replay]")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 2026-01-31 or 2026-01-31T06:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _kinds(text: str) -> list[str]:
    kinds = list(dict.fromkeys(text.split(",")))
    if unknown := [kind for kind in kinds if kind not in _KINDS]:
        raise argparse.ArgumentTypeError(f"{', '.join(map(repr, unknown))}: there are {', '.join(_KINDS)}")
    return kinds


def _positive(kind: type[Any]) -> Any:
    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value < 1e6:
            raise argparse.ArgumentTypeError(f"{text!r} should be a number above 0")
        return value

    return read


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
