"""What Prometheus reads: written by real daemons, parsed by Prometheus' own parser."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from harness import Daemon, Fault, Ledger, Nursery, wait_until
from prometheus_client.parser import text_string_to_metric_families

from daemon.checking.check import check
from daemon.reporting.metrics import Metrics, MetricsFile
from filing.folders import Folders
from filing.logs import open_log
from inspection.model import read_card
from settings import load

OFTEN = {"daemon.reporting.metrics._EVERY_S": 0.05}
CONFIG = "device: cpu\ninbox: {quiet_s: 0.3, scan_s: 0.2}\nmetrics: {file: prometheus/line.prom}\n"

Samples = dict[tuple[str, ...], float]
Drop = Callable[[int], None]


@pytest.fixture
def drop(ledger: Ledger, image: Callable[[int], bytes]) -> Drop:
    """Put so many whole images into the inbox."""

    def drop_all(count: int) -> None:
        for number in range(count):
            ledger.drop(f"{number}.png", image(number))

    return drop_all


@pytest.fixture
def file(line: Path) -> Path:
    """Where the line writes its metrics."""
    (line / "config.yaml").write_text(CONFIG, encoding="utf-8")
    (line / "prometheus").mkdir()
    return line / "prometheus" / "line.prom"


def _read(file: Path) -> Samples:
    """Each sample by its name, less `solderwatch_`, and the values of its labels in the order of their names."""
    families = text_string_to_metric_families(file.read_text(encoding="utf-8"))
    return {
        (sample.name.removeprefix("solderwatch_"), *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def _counted(samples: Samples) -> dict[tuple[str, ...], float]:
    return {key[1:]: value for key, value in samples.items() if key[0] == "images_total" and value}


def _logged(daemon: Daemon) -> Counter[tuple[str, ...]]:
    decisions = [(event["outcome"], event["reason"]) for event in daemon.events("decision")]
    return Counter([*decisions, *(("quarantine", "error") for _ in daemon.events("quarantine"))])


def test_counts_equal_the_log(nursery: Nursery, line: Path, file: Path, trained: Path) -> None:
    """After the stop each image of the log is counted once by outcome and reason, and each stage is timed once."""
    inbox = line / "data" / "inbox"
    inbox.mkdir(parents=True)
    for label in ("io", "nio"):
        for path in sorted((trained / "dataset" / label).iterdir())[:6]:
            shutil.copyfile(path, inbox / path.name)
    (inbox / "text.png").write_text("no image", encoding="utf-8")
    daemon = nursery.start(line)
    daemon.wait_for("decision", 12)
    daemon.wait_for("quarantine")
    assert daemon.stop() == 0
    samples, logged = _read(file), _logged(daemon)
    assert _counted(samples) == logged
    assert samples["images_total", "nio", "unidentified"] == logged["nio", "unidentified"]
    for stage, images in {"decode": 12, "judge": 12, "draw": 12, "file": 13}.items():
        assert samples["stage_seconds_count", stage] == images
        assert samples["stage_seconds_sum", stage] > 0
    decided = [event["milliseconds"]["judge"] / 1000 for event in daemon.events("decision")]
    assert samples["stage_seconds_sum", "judge"] == pytest.approx(sum(decided))
    for level in ("info", "warning", "error"):
        lines = sum(event["level"] == level for event in daemon.events())
        # The last line of all is written after the file.
        assert samples["log_lines_total", level] == lines - (level == "info")
    assert samples["up",] == 0
    assert samples["inbox_images",] == samples["work_images",] == samples["troubles_total",] == 0


def test_tells_the_model_and_the_drift(nursery: Nursery, line: Path, file: Path, drop: Drop) -> None:
    """While the daemon runs: which model, what is proven of it, where each control chart stands, and the last time."""
    card = read_card(line / "models" / "current")
    assert card.certificate
    daemon = nursery.start(line, fault=Fault(settings=OFTEN))
    drop(3)
    last = daemon.wait_for("decision", 3)[-1]
    wait_until(lambda: sum(_counted(_read(file)).values()) == 3 and "up" in {key[0] for key in _read(file)})
    samples = _read(file)
    (info,) = [key for key in samples if key[0] == "model_info"]
    assert {card.model_id, "indicative", "cpu"} <= set(info)
    assert samples["up",] == samples["model_loaded",] == 1
    assert samples["model_recall_bound_ratio",] == pytest.approx(card.certificate.proof.recall_bound)
    assert samples["drift_moved", "nio_share"] == 0
    assert ("drift_standard_deviations", "nio_share") not in samples
    signals = {key[1] for key in samples if key[0] == "drift_standard_deviations"}
    assert signals == {key[1] for key in samples if key[0] == "drift_moved"} - {"nio_share"}
    assert signals
    assert samples["last_decision_timestamp_seconds",] == pytest.approx(
        datetime.fromisoformat(last["time"]).timestamp()
    )
    assert samples["process_resident_memory_bytes",] > 1e6


def test_without_a_model_images_wait(nursery: Nursery, line: Path, file: Path, drop: Drop) -> None:
    """No model: the series of a model are missing but for the one that says so, and the inbox is counted."""
    shutil.rmtree(line / "models")
    drop(2)
    nursery.start(line, fault=Fault(settings=OFTEN)).wait_for("no_model")
    wait_until(lambda: file.exists() and _read(file).get(("inbox_images",)) == 2)
    samples = _read(file)
    assert samples["model_loaded",] == 0
    assert not [
        key for key in samples if key[0] in {"model_info", "model_threshold", "last_decision_timestamp_seconds"}
    ]


def test_everyone_may_read_it(line: Path, file: Path) -> None:
    """Whatever the service's umask, node_exporter's user can read the file; nothing else is left beside it."""
    settings = load(line / "config.yaml")
    folders = Folders(settings.paths.line)
    folders.make()
    before = os.umask(0o077)
    try:
        MetricsFile(Metrics()).write(
            settings, folders, open_log(settings.logs), running=True, sees=True, models=None, drift={}
        )
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert list(file.parent.iterdir()) == [file]
    assert ("work_images",) not in _read(file)  # nobody has looked at it yet


@pytest.mark.parametrize("fault", [Fault(error="ENOSPC"), Fault(error="EROFS")], ids=lambda fault: fault.error)
def test_a_full_disk_costs_no_verdict(nursery: Nursery, line: Path, file: Path, drop: Drop, fault: Fault) -> None:
    """A file that cannot be written is told once, and once that it can be again; every image is judged meanwhile."""
    failing = Fault(at=1, only="line.prom.new", times=6, error=fault.error, settings=OFTEN)
    daemon = nursery.start(line, fault=failing)
    daemon.wait_for("metrics_unwritten")
    drop(5)
    daemon.wait_for("decision", 5)
    daemon.wait_for("metrics_written")
    assert daemon.stop() == 0
    assert len(daemon.events("metrics_unwritten")) == len(daemon.events("metrics_written")) == 1
    assert not daemon.events("trouble")
    assert _counted(_read(file)) == _logged(daemon)
    assert list(file.parent.iterdir()) == [file]


def test_a_folder_that_comes_later(nursery: Nursery, line: Path, file: Path, drop: Drop) -> None:
    """Without its folder nothing is written, and nothing else suffers; the folder is taken up when it comes."""
    file.parent.rmdir()
    daemon = nursery.start(line, fault=Fault(settings=OFTEN))
    (told,) = daemon.wait_for("metrics_unwritten")
    assert "line.prom" in told["error"]
    drop(1)
    daemon.wait_for("decision")
    file.parent.mkdir()
    daemon.wait_for("metrics_written")
    assert _read(file)["up",] == 1


def test_a_reload_takes_another_file(nursery: Nursery, line: Path, file: Path, drop: Drop) -> None:
    """SIGHUP begins another file with the same counts."""
    daemon = nursery.start(line, fault=Fault(settings=OFTEN))
    drop(1)
    daemon.wait_for("decision")
    (line / "config.yaml").write_text(CONFIG.replace("line.prom", "other.prom"), encoding="utf-8")
    daemon.send(signal.SIGHUP)
    daemon.wait_for("reloaded")
    assert daemon.stop() == 0
    assert _counted(_read(file.with_name("other.prom"))) == _logged(daemon)


def test_the_status_counts_the_same(nursery: Nursery, line: Path, file: Path, drop: Drop) -> None:
    """A daemon whose metrics are off writes none; its status has the counts all the same."""
    (line / "config.yaml").write_text(CONFIG.replace("prometheus/line.prom", "null"), encoding="utf-8")
    drop(1)
    assert nursery.once(line) == 0
    assert list(file.parent.iterdir()) == []
    status = json.loads((line / "data" / "work" / ".status.json").read_bytes())
    assert sum(status["since_start"].values()) == 1


def test_check_looks_at_the_folder(line: Path, file: Path) -> None:
    """`check` says where the metrics go, or that there is no such folder."""

    def said() -> list[tuple[str, str]]:
        found = [(finding.level, finding.text) for finding in check(load(line / "config.yaml"))]
        return [finding for finding in found if finding[1].startswith("metrics")]

    assert said() == [("ok", f"metrics: {file}")]
    file.parent.rmdir()
    ((level, text),) = said()
    assert level == "problem"
    assert f"there is no folder {file.parent}" in text
