"""The command line of the daemon. Nothing here imports torch before it is needed: wrong input is answered at once.

`solderwatch` also has commands that other packages bring: the daemon knows none of these packages, and runs without.
pyproject.toml lists them as entry points of one group, each a module with `HELP`, `add_arguments` and `run`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from importlib.metadata import distribution, version
from pathlib import Path

from daemon.checking.finding import Finding
from daemon.setup import init
from filing.folders import Folders
from inspection.errors import SolderwatchError, in_words
from inspection.files import readable
from settings import Settings, load

_OTHERS = "solderwatch.commands"
_PROGRESS_S = 1.0
_HELP = """\
Watches the inbox for X-ray images, judges each one, and files it into io (good) or nio (defective)
with a class activation map and the verdict as JSON beside it.
"""
_EPILOG = """\
examples:
  solderwatch init line7                 a new line, with configuration and folders
  solderwatch check                      is everything in order?
  solderwatch doctor                     the same, and all that this computer must be able to do
  solderwatch run                        watch until stopped (SIGTERM or Ctrl-C)
  solderwatch run --once                 empty the inbox, then exit
  solderwatch status --json | jq .counts
  solderwatch requeue lot7/joint.png     judge a quarantined file again
  solderwatch relabel data/nio/a.png io  a false call: move it to io, and teach it to the next model
  solderwatch reindex                    compare the ledger with all records; also while the daemon runs
  tail -F logs/decisions.jsonl | jq -c 'select(.event == "decision") | [.file, .verdict, .nio_probability]'

signals to a running daemon: SIGTERM and SIGINT finish what is in hand; SIGHUP reads the configuration again.

exit codes: 0 done; 1 failed (check, doctor: a problem; status: not running; relabel: an image was refused;
reindex: a folder or record cannot be read);
2 the command line or the configuration is wrong
"""


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit code tells how it went."""
    arguments = command_line().parse_args(argv)
    try:
        code: int = arguments.command(arguments)
    except SolderwatchError as error:
        for line in str(error).splitlines():
            print(f"solderwatch: {line}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"solderwatch: {in_words(error)}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        return 1
    return code


def command_line() -> argparse.ArgumentParser:
    """What reads the command line."""
    parser = argparse.ArgumentParser(
        "solderwatch", description=_HELP, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('solderwatch')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace, Settings], int], help_: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_, description=help_.capitalize() + ".")
        command.set_defaults(command=lambda arguments: run(arguments, load(arguments.config)))
        command.add_argument(
            "--config", type=Path, default=Path("config.yaml"), metavar="PATH", help="default: ./config.yaml"
        )
        return command

    help_ = "lay out a new line: its folders, its configuration, and what its files' names say"
    new = commands.add_parser("init", help=help_, description=help_.capitalize() + ".")
    new.set_defaults(command=_init)
    init.add_arguments(new)
    for name, function, help_ in (
        ("run", _run, "watch the inbox until stopped"),
        ("check", _check, "validate configuration, folders, device and model; say each problem and its mend"),
        ("doctor", _doctor, "check and more: try disks, events, clock, service, and a trial image"),
        ("status", _status, "is it alive, what did it do, which model"),
        ("requeue", _requeue, "put quarantined files back into the inbox"),
        ("reindex", _reindex, "make the ledger equal to the records, or build it from them"),
    ):
        command = add(name, function, help_)
        if name == "run":
            command.add_argument("--once", action="store_true", help="empty the inbox, then exit")
        if name == "requeue":
            command.add_argument("names", nargs="*", metavar="NAME", help="a path in quarantine; without any: all")
        if name in {"doctor", "status"}:
            command.add_argument("--json", action="store_true", help="for programs")
    for entry in distribution("solderwatch").entry_points.select(group=_OTHERS):
        other = entry.load()
        other.add_arguments(add(entry.name, other.run, other.HELP))
    return parser


def _init(arguments: argparse.Namespace) -> int:
    return init.run(arguments, input if sys.stdin.isatty() and sys.stdout.isatty() else None)


def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    # Before torch is imported: a share that is not mounted yet is asked for every few seconds.
    folders = Folders(settings.paths.line, settings.inbox.admission)
    folders.make()
    from daemon.service import Service  # noqa: PLC0415 - imports torch

    Service(arguments.config, settings, folders).run(once=arguments.once)
    return 0


def _check(_: argparse.Namespace, settings: Settings) -> int:
    from daemon.checking.check import check  # noqa: PLC0415 - imports torch

    return _show(check(settings))


def _doctor(arguments: argparse.Namespace, settings: Settings) -> int:
    from daemon.checking.doctor import as_json, examine  # noqa: PLC0415 - imports torch

    if not arguments.json:
        return _show(examine(settings))
    findings = list(examine(settings))
    print(as_json(findings))
    return int(any(finding.level == "problem" for finding in findings))


def _show(findings: Iterable[Finding]) -> int:
    """Print what was found, as it is found; the exit code."""
    print("ok       configuration")
    problems = 0
    for finding in findings:
        problems += finding.level == "problem"
        print(f"{finding.level:<8} {finding.text}", flush=True)
    return 1 if problems else 0


def _status(arguments: argparse.Namespace, settings: Settings) -> int:
    from daemon.reporting.status import as_json, as_text, read_status  # noqa: PLC0415

    status = read_status(settings)
    print(as_json(status) if arguments.json else as_text(status))
    return 0 if status.alive else 1


def _requeue(arguments: argparse.Namespace, settings: Settings) -> int:
    from daemon.intake.requeue import requeue  # noqa: PLC0415
    from filing.logs import open_log  # noqa: PLC0415

    count = 0
    for path, back in requeue(settings, arguments.names, open_log(settings.logs)):
        count += 1
        print(f"{readable(str(path))} -> {readable(str(settings.paths.inbox / back))}")
    if not count:
        print(f"nothing to put back in {readable(str(settings.paths.quarantine))}")
    return 0


def _reindex(_: argparse.Namespace, settings: Settings) -> int:
    from filing.ledger import Swept, reindex  # noqa: PLC0415

    told = time.monotonic()

    def tell(found: Swept) -> None:
        nonlocal told
        if time.monotonic() - told >= _PROGRESS_S:
            told = time.monotonic()
            print(f"{found.records:,} records so far", file=sys.stderr, flush=True)

    swept = reindex(settings, tell)
    print(f"{swept.records:,} records: {swept.changed:,} were new or had changed, {swept.removed:,} are gone")
    for outcome in swept.away:
        print(f"solderwatch: paths.{outcome}: {settings.paths.line[outcome]}: not there", file=sys.stderr)
    if swept.unread:
        print(f"solderwatch: {swept.unread:,} records or folders cannot be read", file=sys.stderr)
    return 1 if swept.away or swept.unread else 0


if __name__ == "__main__":
    sys.exit(main())
