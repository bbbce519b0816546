"""The command line of the training: refresh the model, go back to the previous one, or list them all."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path

from inspection.errors import ConfigError, SolderwatchError, in_words
from settings import Settings, load

_HELP = """\
Refresh the model from the labelled folders dataset/io and dataset/nio.

Reads the images, sets a few aside, splits the rest by part, trains a supervised autoencoder, chooses
the threshold for the required recall on nio, tests it on untouched images, and writes a model folder with
a report (models/<model>/report/index.html). If the new model is no worse than the one in use on test images
that neither was trained on, it switches models/current to it; a running daemon picks it up by itself.

With products in the configuration: the same for each one in dataset/PRODUCT and models/PRODUCT, one after another,
if its data set changed since its newest model; what fails is told, and the others go on.
"""
_EPILOG = """\
commands:
  refresh    train and promote (the default)
  rollback   put the previous model back to use; a second time undoes it
  history    list all models: when, how they did in their test, and what the gate said
  labels     list the labels that the newest model's training doubted, the dearest first, and how to answer

exit codes: 0 done; 1 failed; 2 the command line or the configuration is wrong; 3 trained, not promoted;
of several products the worst: 1 if one failed, else 3 if one was not promoted

example: put images into dataset/io and dataset/nio, then:  solderwatch-train --config config.yaml
"""


def main(argv: list[str] | None = None) -> int:
    """Run the training; the exit code tells how it went."""
    parser = command_line()
    arguments = parser.parse_args(argv)
    if arguments.force and arguments.command != "refresh":
        parser.error("--force goes with refresh")
    try:
        settings = load(arguments.config)
        named = list(dict.fromkeys(arguments.product))
        for name in named:
            settings.of_product(name)
        # After the configuration was found right: torch takes seconds to import.
        if arguments.command == "rollback":
            _rollback(settings, named)
        elif arguments.command == "history":
            _history(settings, named)
        elif arguments.command == "labels":
            _labels(settings, named)
        else:
            return _refresh(settings, named, force=arguments.force)
    except SolderwatchError as error:
        print(f"solderwatch-train: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"solderwatch-train: {in_words(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        told = "stopped by hand; models/current is as it was; the next run goes on after the last epoch"
        print(f"solderwatch-train: {told}", file=sys.stderr)
        return 1
    return 0


def command_line() -> argparse.ArgumentParser:
    """What reads the command line."""
    parser = argparse.ArgumentParser(
        "solderwatch-train",
        description=_HELP,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", choices=("refresh", "rollback", "history", "labels"), default="refresh")
    parser.add_argument("--config", type=Path, default=Path("config.yaml"), help="default: ./config.yaml")
    parser.add_argument("--force", action="store_true", help="refresh: promote the new model whatever the gate says")
    parser.add_argument(
        "--product",
        metavar="NAME",
        action="append",
        default=[],
        help="only this product, also if its data set is unchanged; may be given several times",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('solderwatch')}")
    return parser


def _rollback(settings: Settings, named: list[str]) -> None:
    from training.release.promote import rollback  # noqa: PLC0415

    if settings.products and not named:
        raise ConfigError(f"rollback: say of which product, with --product: {', '.join(settings.products)}")
    for own in [settings.of_product(name) for name in named] or [settings]:
        print(f"in use now: {rollback(own.paths.models)}")


def _history(settings: Settings, named: list[str]) -> None:
    _need_training_packages()
    from training.release.history import history  # noqa: PLC0415

    if not settings.products:
        print(history(settings.paths.models))
    for name in named or settings.products:
        print(f"{name}:\n{history(settings.of_product(name).paths.models)}")


def _labels(settings: Settings, named: list[str]) -> None:
    _need_training_packages()
    from training.release.doubted import doubted  # noqa: PLC0415

    if not settings.products:
        print(doubted(settings))
    for name in named or settings.products:
        print(f"{name}:\n{doubted(settings.of_product(name))}")


def _refresh(settings: Settings, named: list[str], *, force: bool) -> int:
    _need_training_packages()
    from training.fitting import processes  # noqa: PLC0415
    from training.products import refresh_products  # noqa: PLC0415
    from training.refresh import refresh  # noqa: PLC0415
    from training.release.promote import only_refresh  # noqa: PLC0415

    with processes.joined():
        if settings.products and processes.count() == 1:
            return refresh_products(settings, named, force=force)
        if settings.products and len(named) != 1:
            raise ConfigError("several processes train one product together: name it with --product")
        own = settings.of_product(named[0] if named else None)
        with only_refresh(own.paths.models) if processes.rank() == 0 else nullcontext():
            refresh(own, force=force)
    return 0


def _need_training_packages() -> None:
    import importlib.util  # noqa: PLC0415

    wanted = ("jinja2", "matplotlib", "scipy", "sklearn", "tqdm")
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"training needs {', '.join(missing)}: install solderwatch[training]")


if __name__ == "__main__":
    sys.exit(main())
