"""The command line of the training: refresh the model, go back to the previous one, or list them all."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path

from inspection.errors import ConfigError, SolderwatchError
from settings import load

_HELP = """\
Refresh the model from the labelled folders dataset/io and dataset/nio.

Reads the images, sets a few aside, splits the rest by part, trains a supervised autoencoder, chooses
the threshold for the required recall on nio, tests it on untouched images, and writes a model folder with
a report (models/<model>/report/index.html). If the new model is no worse than the one in use on test images
that neither was trained on, it switches models/current to it; a running daemon picks it up by itself.
"""
_EPILOG = """\
commands:
  refresh    train and promote (the default)
  rollback   put the previous model back to use; a second time undoes it
  history    list all models: when, how they did in their test, and what the gate said

exit codes: 0 done; 1 failed; 2 the command line or the configuration is wrong; 3 trained, not promoted

example: put images into dataset/io and dataset/nio, then:  solderwatch-train --config config.yaml
"""


def main(argv: list[str] | None = None) -> int:
    """Run the training; the exit code tells how it went."""
    parser = argparse.ArgumentParser(
        "solderwatch-train",
        description=_HELP,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", choices=("refresh", "rollback", "history"), default="refresh")
    parser.add_argument("--config", type=Path, default=Path("config.yaml"), help="default: ./config.yaml")
    parser.add_argument("--force", action="store_true", help="refresh: promote the new model whatever the gate says")
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('solderwatch')}")
    arguments = parser.parse_args(argv)
    if arguments.force and arguments.command != "refresh":
        parser.error("--force goes with refresh")
    try:
        settings = load(arguments.config)
        # After the configuration was found right: torch takes seconds to import.
        if arguments.command == "rollback":
            from training.release.promote import rollback  # noqa: PLC0415

            print(f"in use now: {rollback(settings.paths.models)}")
        elif arguments.command == "history":
            _need_training_packages()
            from training.release.history import history  # noqa: PLC0415

            print(history(settings.paths.models))
        else:
            _need_training_packages()
            from training.fitting import processes  # noqa: PLC0415
            from training.refresh import refresh  # noqa: PLC0415
            from training.release.promote import only_refresh  # noqa: PLC0415

            with processes.joined(), only_refresh(settings.paths.models) if processes.rank() == 0 else nullcontext():
                refresh(settings, force=arguments.force)
    except SolderwatchError as error:
        print(f"solderwatch-train: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"solderwatch-train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        told = "stopped by hand; models/current is as it was; the next run goes on after the last epoch"
        print(f"solderwatch-train: {told}", file=sys.stderr)
        return 1
    return 0


def _need_training_packages() -> None:
    import importlib.util  # noqa: PLC0415

    wanted = ("jinja2", "matplotlib", "scipy", "sklearn", "tqdm")
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"training needs {', '.join(missing)}: install solderwatch[training]")


if __name__ == "__main__":
    sys.exit(main())
