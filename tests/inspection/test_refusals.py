"""What the system refuses is told in words."""

from __future__ import annotations

import errno

import pytest

from inspection.errors import in_words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EACCES, "Permission denied", "/data/io"), "/data/io: Permission denied; give it to this user"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; make room"),
        (OSError(errno.ELOOP, "Too many links", "/a"), "/a: Too many links"),
        (OSError("no memory for it"), "no memory for it"),
    ],
)
def test_a_refusal_names_the_place_and_the_mend(error: OSError, words: str) -> None:
    """Without numbers and quotes: where, what, and where it is known what to do."""
    assert in_words(error).startswith(words)
