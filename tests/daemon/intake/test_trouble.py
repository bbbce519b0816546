from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from daemon.intake.trouble import Trouble
from filing.folders import AwayError
from filing.logs import open_log
from settings.schema import LogSettings


class Case:
    """Trouble with a clock that passes only when told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stream = io.StringIO()
        log = open_log(LogSettings.model_validate({"file": None, "format": "json"}), self.stream)
        self.trouble = Trouble(log, lambda: self.now)

    def fail(self, name: str, code: int, *, ours: bool = True) -> None:
        """One file fails."""
        with self.trouble.of_one(Path(name), Path(name), ours=ours):
            raise OSError(code, os.strerror(code), name)

    def told(self) -> list[dict[str, Any]]:
        """The log lines."""
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def case() -> Case:
    """No trouble yet."""
    return Case()


def test_a_file_in_trouble_rests_longer_each_time(case: Case) -> None:
    """The first time 30 s, then twice as long up to half an hour, each told with the time of the next try."""
    rests = []
    for _ in range(9):
        assert not case.trouble.rests(Path("a"))
        case.fail("a", errno.EACCES, ours=False)
        rests.append(case.told()[-1]["retry_in_s"])
        case.now += rests[-1] - 1
        assert case.trouble.rests(Path("a"))
        case.now += 1
    assert rests == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]
    assert not case.trouble.rests(Path("b"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.ESTALE, errno.EDQUOT, errno.ENOMEM])
def test_trouble_with_the_disk_is_everyones(case: Case, code: int) -> None:
    """A full, read-only or stale file system is not the file's fault: nobody is claimed for a while."""
    with pytest.raises(OSError, match=os.strerror(code)):
        case.fail("a", code)
    assert not case.trouble.rests(Path("a"))


def test_a_folder_that_is_away_is_everyones_trouble(case: Case) -> None:
    """Whatever its errno, it is not the file's fault."""
    with pytest.raises(AwayError), case.trouble.of_one(Path("a"), Path("a"), ours=True):
        raise AwayError(errno.ENOENT, "away", "/mnt")


def test_several_files_in_a_row_are_everyones_trouble(case: Case) -> None:
    """A third file in a row that fails in our own folders is not about files; one that gets through breaks the row."""
    case.fail("a", errno.EIO)
    case.fail("b", errno.EIO)
    case.trouble.filed()
    case.fail("c", errno.EIO)
    case.fail("d", errno.EIO)
    with pytest.raises(OSError, match="e"):
        case.fail("e", errno.EIO)


def test_many_files_of_others_do_not_stop_the_line(case: Case) -> None:
    """Files in the inbox that may not be moved are their owners' trouble, however many there are."""
    for number in range(20):
        case.fail(str(number), errno.EACCES, ours=False)


def test_the_line_backs_off_for_a_minute_at_most(case: Case) -> None:
    """1, 2, 4 ... 60 s, told each time, and from the beginning once an image got through."""
    for _ in range(8):
        case.trouble.of_all(OSError(errno.ENOSPC, "full"), 3)
    assert [event["retry_in_s"] for event in case.told()] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert case.told()[0]["in_hand"] == 3
    case.trouble.filed()
    case.trouble.of_all(OSError(errno.ENOSPC, "full"), 3)
    assert case.told()[-1]["retry_in_s"] == 1


def test_files_that_left_are_forgotten(case: Case) -> None:
    """What rested and did not come again takes no memory for ever."""
    for number in range(100):
        case.fail(str(number), errno.EACCES, ours=False)
    case.now += 61
    case.trouble.over()
    assert case.trouble._resting == {}
