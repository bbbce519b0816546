"""`solderwatch relabel`: an operator's word on the command line. Imports nothing heavy: it answers at once."""

from __future__ import annotations

import argparse
import sys

from inspection.files import readable
from inspection.verdict import LABELS
from settings import Settings

HELP = "overrule or confirm verdicts; the images go to the data set as well"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes beside the configuration."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="a judged image in io or nio")
    parser.add_argument("label", choices=LABELS, help="what it is")
    parser.add_argument("--by", metavar="NAME", help="who says so; default: the login name")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Relabel the images; returns the exit code: 1 if one was refused."""
    from filing.logs import open_log  # noqa: PLC0415 - the daemon's own commands need none of it
    from review.relabel import login_name, relabel  # noqa: PLC0415

    by, log = arguments.by or login_name(), open_log(settings.logs)
    refused = 0
    for found in relabel(settings, arguments.images, arguments.label, by, log):
        refused += 1
        print(f"solderwatch: {found.image}: {readable(found.why)}", file=sys.stderr)
    return 1 if refused else 0
