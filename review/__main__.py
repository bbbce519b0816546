"""The command line of the operator's page."""

from __future__ import annotations

import argparse
import errno
import getpass
import socket
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from inspection.errors import ConfigError, SolderwatchError, in_words
from settings import Settings, load

# ruff: noqa: PLC0415 - what the page needs may not be installed, and a wrong configuration is answered at once

_HELP = "The operator's page: look at what was judged, decide with one key, teach the next model."
_EPILOG = """\
examples:
  solderwatch-review                      then open http://127.0.0.1:8417
  solderwatch-review user add Ann         asks for a password; from now on everybody signs in
  solderwatch-review user add Eve --role engineer
  solderwatch-review user remove Ann
  solderwatch-review user list

Without users the page asks for a name and is for this computer alone. For others it wants users and a certificate
(review.tls), or a proxy that signs people in (review.behind_proxy).

exit codes: 0 done; 1 failed; 2 the command line or the configuration is wrong
"""
_PARTS = ("starlette", "uvicorn", "jinja2", "argon2", "itsdangerous")
_CONNECTIONS, _KEEP_ALIVE_S, _END_S = 200, 30, 5


def main(argv: list[str] | None = None) -> int:
    """Serve the page, or see to its users; the exit code tells how it went."""
    arguments = command_line().parse_args(argv)
    try:
        settings = load(arguments.config)
        _need_parts()
        if arguments.command == "user":
            return _user(arguments, settings)
        return _serve(settings, arguments.host, arguments.port)
    except SolderwatchError as error:
        for line in str(error).splitlines():
            print(f"solderwatch-review: {line}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"solderwatch-review: {in_words(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1


def _need_parts() -> None:
    if missing := [part for part in _PARTS if find_spec(part) is None]:
        raise SolderwatchError(f"{', '.join(missing)} is not installed: pip install 'solderwatch[review]'")


def command_line() -> argparse.ArgumentParser:
    """What reads the command line."""
    parser = argparse.ArgumentParser(
        "solderwatch-review", description=_HELP, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('solderwatch')}")
    config: dict[str, Any] = {"type": Path, "metavar": "PATH", "help": "default: ./config.yaml"}
    parser.add_argument("--config", default=Path("config.yaml"), **config)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen to; default: 127.0.0.1")
    parser.add_argument("--port", type=_port, default=8417, help="default: 8417")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    user = commands.add_parser("user", help="who may use the page", description="Who may use the page.")
    user.add_argument("act", choices=["add", "remove", "list"], help="add also changes password and role")
    user.add_argument("name", nargs="?", metavar="NAME")
    user.add_argument("--role", choices=["operator", "engineer"], default="operator", help="default: operator")
    user.add_argument("--config", default=argparse.SUPPRESS, **config)
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 1 to 65535")
    return int(text)


def _user(arguments: argparse.Namespace, settings: Settings) -> int:
    from review.page.users import Users

    users = Users(settings.review.folder)
    if arguments.act == "list":
        for user in users.names():
            print(f"{user.name}  {user.role}")
        return 0
    if arguments.name is None:
        raise ConfigError(f"user {arguments.act}: whom? solderwatch-review user {arguments.act} NAME")
    if arguments.act == "remove":
        users.remove(arguments.name)
        return 0
    users.put(arguments.name, _password(arguments.name), arguments.role)
    return 0


def _password(name: str) -> str:
    """Asked for twice at a terminal; else a line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass(f"password for {name}: ")
    if getpass.getpass("once more: ") != password:
        raise SolderwatchError("these were two different passwords")
    return password


def _serve(settings: Settings, host: str, port: int) -> int:
    import uvicorn

    from filing.logs import open_log
    from review.page.app import make_app
    from review.page.door import check_address

    check_address(settings, host)
    tls = settings.review.tls
    app = make_app(settings, open_log(settings.logs), host)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_END_S,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    shown = f"[{host}]" if ":" in host else host
    with _listening(host, port) as door:
        print(f"solderwatch-review: open {'https' if tls else 'http'}://{shown}:{port}", flush=True)
        server = uvicorn.Server(config)
        server.run(sockets=[door])
    return 0 if server.started else 1


def _listening(host: str, port: int) -> socket.socket:
    """The socket, taken before anybody is told where to look."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SolderwatchError(f"--port {port}: in use, maybe by another page; name another one") from None
        raise SolderwatchError(f"--host {host} --port {port}: {error.strerror}; name another one") from None


if __name__ == "__main__":
    sys.exit(main())
