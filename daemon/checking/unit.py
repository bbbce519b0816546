"""The state of the service, where systemd runs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from daemon.checking.finding import Finding

UNIT = "solderwatch.service"
_ASKED = ("LoadState", "UnitFileState", "ActiveState", "SubState", "StatusText", "NRestarts")
_PATIENCE_S = 10


def service(systemd: Path = Path("/run/systemd/system"), systemctl: str = "systemctl") -> Iterator[Finding]:
    """What systemd says of the service; nothing where there is none.

    Args:
        systemd: Is there while it runs.
        systemctl: The program to ask.
    """
    if not systemd.is_dir():
        return
    command = [systemctl, "show", f"--property={','.join(_ASKED)}", UNIT]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        yield Finding("warning", f"service: systemctl does not answer: {error}")
        return
    yield _told(dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line))


def _told(state: dict[str, str]) -> Finding:
    active, status = state.get("ActiveState"), state.get("StatusText", "")
    said = f": {status}" if status else ""
    if state.get("LoadState") == "not-found":
        return Finding("ok", "service: not installed as one here")
    if active == "failed":
        return Finding("problem", f"service: failed{said}; journalctl --unit solderwatch says why")
    if active != "active":
        mend = "systemctl enable --now solderwatch" if active == "inactive" else "journalctl --unit solderwatch"
        return Finding("warning", f"service: {active} ({state.get('SubState')}){said}; {mend}")
    if state.get("UnitFileState") == "disabled":
        return Finding("warning", f"service: runs{said}, but not after the next boot; systemctl enable solderwatch")
    if (restarts := state.get("NRestarts", "0")) != "0":
        return Finding("warning", f"service: runs{said}, restarted {restarts} times; journalctl --unit solderwatch")
    return Finding("ok", f"service: runs{said}")
