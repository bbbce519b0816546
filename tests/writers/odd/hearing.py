"""What libraries say while they read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def as_in_the_daemon() -> Iterator[None]:
    """Without pytest's handlers Python prints on standard error what libraries log."""
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        yield
    finally:
        root.handlers = handlers
