"""Every error that a user can meet, as one tree.

SolderwatchError                 one clear line: what, where, how to mend it; exit code 1
├── ConfigError                  the command line or config.yaml is wrong; exit code 2
├── DatasetError                 the labelled folders contradict themselves, or cannot be trained from
├── DeviceError                  the asked-for device is not there
├── ModelError                   a model folder is damaged, foreign, of another format or fails its self-test
│   └── NoModelError             there is no model yet
├── LedgerError                  the ledger is not there, or cannot answer now; the records can
├── NotPromotedError             trained, but the model in use stays; exit code 3
└── ImageError                   this file will never be an image: quarantine
"""

from __future__ import annotations

import errno

_LONGEST = 300  # characters
_FOREIGN = "give it to this user, or run this as its owner (as a service: sudo -u solderwatch)"
_MENDS = {
    errno.EACCES: _FOREIGN,
    errno.EPERM: _FOREIGN,
    errno.EISDIR: "name a file",
    errno.ENOSPC: "make room",
    errno.EROFS: "make it writable, or name another place",
}


class SolderwatchError(Exception):
    """A failure that is told to the user in one line, without a traceback."""

    exit_code = 1


class ConfigError(SolderwatchError):
    """The command line or the configuration is wrong."""

    exit_code = 2


class DatasetError(SolderwatchError):
    """The labelled folders contradict themselves, or cannot be trained from."""


class DeviceError(SolderwatchError):
    """The device that was asked for is not there."""


class ModelError(SolderwatchError):
    """A model folder is damaged, foreign, of another format than this program's, or fails its self-test."""


class NoModelError(ModelError):
    """There is no model yet."""


class LedgerError(SolderwatchError):
    """The ledger is not there, or cannot answer now; the records can."""


class NotPromotedError(SolderwatchError):
    """A model was trained, and the one in use stays."""

    exit_code = 3


class ImageError(SolderwatchError):
    """The bytes are not an image that can be judged, now or later."""


def in_one_line(error: Exception) -> str:
    """What an error of any library says, cut where that is long; its type's name where it says nothing."""
    return " ".join(str(error).split())[:_LONGEST] or type(error).__name__


def in_words(error: OSError) -> str:
    """What the system refused, in one line: where, what, and where it is known how to mend it."""
    if error.strerror is None:
        return str(error)
    where = f"{error.filename}: " if error.filename else ""
    mend = _MENDS.get(error.errno or 0)
    return f"{where}{error.strerror}{f'; {mend}' if mend else ''}"
