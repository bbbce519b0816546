from __future__ import annotations

import errno
import io
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from filing.durable import append_line
from filing.logs import open_log, together
from settings.schema import LogSettings


def _settings(path: Path | None, format_: str = "json") -> LogSettings:
    return LogSettings.model_validate({"file": str(path) if path else None, "format": format_})


def test_an_event_is_one_json_line_in_stream_and_file(tmp_path: Path) -> None:
    """Both outputs get the same line: timestamp, level and event first, then the fields."""
    stream, path = io.StringIO(), tmp_path / "logs" / "decisions.jsonl"
    open_log(_settings(path), stream).info("decision", file="a.png", verdict="io")
    assert stream.getvalue() == path.read_text()
    event = json.loads(stream.getvalue())
    assert list(event) == ["timestamp", "level", "event", "file", "verdict"]
    assert (event["level"], event["event"]) == ("info", "decision")


def test_hostile_names_stay_in_their_line(tmp_path: Path) -> None:
    """Line breaks and bytes that are no UTF-8 in a value neither split a line nor stop the log."""
    path = tmp_path / "log.jsonl"
    open_log(_settings(path), io.StringIO()).info("decision", file="a\nb\udcff.png")
    assert len(path.read_text().splitlines()) == 1


def test_console_format_is_for_people(tmp_path: Path) -> None:
    """The console shows the event without JSON; the file still gets JSON."""
    stream, path = io.StringIO(), tmp_path / "log.jsonl"
    open_log(_settings(path, "console"), stream).info("decision", file="a.png")
    assert "decision" in stream.getvalue()
    assert "{" not in stream.getvalue()
    assert json.loads(path.read_text())["file"] == "a.png"


def test_a_rotated_log_is_followed_by_a_new_one(tmp_path: Path) -> None:
    """After the file was renamed away, the next line makes a new one."""
    path = tmp_path / "log.jsonl"
    log = open_log(_settings(path), io.StringIO())
    log.info("one")
    path.rename(tmp_path / "log.jsonl.1")
    log.info("two")
    assert json.loads(path.read_text())["event"] == "two"


class _Broken(io.StringIO):
    def write(self, _: str, /) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("path", ["/proc/no/such/log.jsonl", "/dev/full"])
def test_logging_never_raises(path: str) -> None:
    """A closed standard output, a full disk and an impossible path cost the line, never the caller."""
    log = open_log(_settings(Path(path)), _Broken())
    log.info("decision", file="a.png")
    log.error("trouble")


def test_a_broken_stream_does_not_cost_the_file(tmp_path: Path) -> None:
    """The file gets its lines although standard output is gone."""
    path = tmp_path / "log.jsonl"
    log = open_log(_settings(path), _Broken())
    log.info("one")
    log.info("two")
    assert len(path.read_text().splitlines()) == 2


def test_what_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    """Lines that the disk could not take are in the file, whole and in order, once it can."""
    path = tmp_path / "logs" / "log.jsonl"
    (tmp_path / "logs").touch()
    log = open_log(_settings(path), io.StringIO())
    log.info("one")
    log.info("two")
    (tmp_path / "logs").unlink()
    log.info("three")
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["one", "two", "three"]


def test_a_disk_that_fills_amid_a_line_leaves_none_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When only half a line fits, that half is taken back; the line comes whole when there is room."""
    path = tmp_path / "log.jsonl"
    log = open_log(_settings(path), io.StringIO())
    log.info("one")
    write = os.write
    room = [20]

    def filling(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "full")
        done = write(descriptor, data[: room[0]])
        room[0] -= done
        return done

    monkeypatch.setattr(os, "write", filling)
    log.info("two")
    assert len(path.read_text().splitlines()) == 1
    monkeypatch.undo()
    log.info("three")
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["one", "two", "three"]


def test_a_half_line_of_a_crash_does_not_spoil_the_next(tmp_path: Path) -> None:
    """After a power cut amid a line the next one begins on a line of its own."""
    path = tmp_path / "log.jsonl"
    path.write_text('{"event": "cut o')
    open_log(_settings(path), io.StringIO()).info("next")
    assert json.loads(path.read_text().splitlines()[1])["event"] == "next"


def test_without_standard_output_the_file_has_its_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that was started with standard output closed logs to the file."""
    path = tmp_path / "log.jsonl"
    monkeypatch.setattr("sys.stdout", None)
    open_log(_settings(path, "auto")).info("one")
    assert len(path.read_text().splitlines()) == 1


def test_a_reader_that_reads_no_more_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe that is full costs a second once; lines are dropped, and come whole again when it is read again."""
    path = tmp_path / "log.jsonl"
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        log = open_log(_settings(path), stream)
        for number in range(1000):
            log.info("line", number=number, padding="x" * 200)
        assert len(path.read_text().splitlines()) == 1000
        read = os.read(reader, 2**20)
        log.info("last")
    with os.fdopen(reader, "rb") as rest:
        read += rest.read()
    whole = [line for line in read.splitlines() if line.endswith(b"}")]
    assert json.loads(whole[-1])["event"] == "last"
    assert [json.loads(line)["number"] for line in whole[:-1]] == list(range(len(whole) - 1))


def test_lines_that_are_logged_together_share_one_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a group are in the file in their order once it ends, durably, and nothing is left to be written."""
    path, synced = tmp_path / "log.jsonl", []
    monkeypatch.setattr(os, "fdatasync", lambda _: synced.append(len(path.read_text().splitlines())))
    log = open_log(_settings(path), io.StringIO())
    log.info("before")
    with together(log):
        for number in range(3):
            log.info("decision", number=number)
        assert len(path.read_text().splitlines()) == 1
    log.info("after")
    assert synced == [1, 4, 5]
    assert [json.loads(line).get("number") for line in path.read_text().splitlines()] == [None, 0, 1, 2, None]


def test_two_threads_do_not_share_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that tells its death while others log costs no line, and no line is written twice."""
    path = tmp_path / "log.jsonl"

    def slowly(descriptor: int, line: str) -> None:
        append_line(descriptor, line)
        time.sleep(0.0005)

    monkeypatch.setattr("filing.logs.append_line", slowly)
    log = open_log(_settings(path), io.StringIO())

    def tell(number: int) -> None:
        with together(log):
            log.info("decision", number=number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(tell, range(100)))
    assert sorted(json.loads(line)["number"] for line in path.read_text().splitlines()) == list(range(100))
