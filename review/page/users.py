"""Who may use the page: names, roles and hashes of passwords in one file; without it anybody at this computer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from filing import durable
from inspection.errors import SolderwatchError

Role = Literal["operator", "engineer"]
LONGEST_NAME, LONGEST_PASSWORD, SHORTEST_PASSWORD = 60, 1000, 8

_FREE_TRIES = 3
_LONGEST_WAIT_S = 60.0
_REMEMBERED = 10_000


@dataclass(frozen=True)
class User:
    """Somebody.

    Attributes:
        name: As words have it.
        role: An engineer sees the models' reports as well.
        stamp: Another one once the password was changed: older sessions end.
    """

    name: str
    role: Role
    stamp: str = ""


def sound_name(name: str) -> str:
    """A name without blanks around it.

    Raises:
        SolderwatchError: It is none.
    """
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise SolderwatchError(f"a name has 1 to {LONGEST_NAME} characters that can be printed")
    return name


class Users:
    """The file of users, read again when it has changed.

    Args:
        folder: `review.folder`.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "users.json"
        self._seen: tuple[int, int] | None = None
        self._rows: dict[str, dict[str, Any]] = {}
        self._hasher = PasswordHasher()
        self._decoy = self._hasher.hash("nobody")
        self._one_by_one = threading.Lock()
        """A check takes 64 MB for some ten milliseconds."""

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            found = self._path.stat()
            stamp = found.st_mtime_ns, found.st_ino
            if stamp != self._seen:
                rows = json.loads(self._path.read_bytes())
                sound = isinstance(rows, dict) and all(
                    isinstance(row, dict) and isinstance(row.get("hash"), str) and row.get("role") in get_args(Role)
                    for row in rows.values()
                )
                if not sound:
                    raise ValueError("no list of users")  # noqa: TRY301
                self._rows, self._seen = rows, stamp
        except FileNotFoundError:
            self._rows, self._seen = {}, None
        except (OSError, ValueError) as error:
            # Never as if there were none: then anybody could come in.
            raise SolderwatchError(f"{self._path}: {error}: mend or remove it, and add the users again") from None
        return self._rows

    def names(self) -> list[User]:
        """All of them."""
        return [self._user(name, row) for name, row in sorted(self._read().items())]

    def find(self, name: str) -> User | None:
        """Who has a name."""
        row = self._read().get(name)
        return self._user(name, row) if row else None

    def check(self, name: str, password: str) -> User | None:
        """Who has a name and a password; a name that nobody has takes as long."""
        row = self._read().get(name)
        with self._one_by_one:
            try:
                self._hasher.verify(row["hash"] if row else self._decoy, password[:LONGEST_PASSWORD])
            except (Argon2Error, InvalidHashError):
                return None
        return self._user(name, row) if row else None

    def put(self, name: str, password: str, role: Role) -> None:
        """Add somebody, or change his password and role.

        Raises:
            SolderwatchError: The name or the password will not do, or nothing can be written.
        """
        name = sound_name(name)
        if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            raise SolderwatchError(f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
        self._write({**self._read(), name: {"hash": self._hasher.hash(password), "role": role}})

    def remove(self, name: str) -> None:
        """Take somebody out; his session ends with his next request.

        Raises:
            SolderwatchError: There is no such user, or nothing can be written.
        """
        rows = dict(self._read())
        if rows.pop(name, None) is None:
            raise SolderwatchError(f"no user {name!r}")
        self._write(rows)

    def _write(self, rows: dict[str, dict[str, Any]]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            durable.write_json(self._path, rows)
        except OSError as error:
            raise SolderwatchError(f"review.folder: {self._path}: {error.strerror}") from None

    @staticmethod
    def _user(name: str, row: dict[str, Any]) -> User:
        return User(name, row["role"], row["hash"][-12:])


class Patience:
    """How long who has given wrong passwords has to wait; twice as long after each.

    Args:
        clock: In seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: dict[str, tuple[int, float]] = {}

    def wait_s(self, *keys: str) -> float:
        """How long before another try, by name or address, is looked at."""
        now = self._clock()
        return max(0.0, *(self._failed.get(key, (0, 0.0))[1] - now for key in keys))

    def failed(self, *keys: str) -> None:
        """A password was wrong."""
        if len(self._failed) > _REMEMBERED:
            self._failed.clear()
        for key in keys:
            count = self._failed.get(key, (0, 0.0))[0] + 1
            wait = min(2.0 ** (count - _FREE_TRIES), _LONGEST_WAIT_S) if count >= _FREE_TRIES else 0.0
            self._failed[key] = count, self._clock() + wait

    def succeeded(self, *keys: str) -> None:
        """It was right."""
        for key in keys:
            self._failed.pop(key, None)
