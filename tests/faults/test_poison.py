"""An image that kills the process: it is put away, and nothing else is."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

from harness import Fault, Ledger, Nursery, stamped

Images = Callable[[int], bytes]

_TRIES = 3
_POISON = Fault(poison="POISON")


def test_a_decoder_killed_by_a_signal(ledger: Ledger, nursery: Nursery, image: Images, long: bool) -> None:
    """An image that kills the process is tried max_attempts times, then quarantined; its neighbours are judged."""
    for place in range(8) if long else (5,):
        ledger.restore()
        for number in range(8):
            ledger.drop(f"{number}.png", stamped(image(number), "POISON") if number == place else image(number))
        codes = [nursery.once(ledger.folder, _POISON)]
        while codes[-1] and len(codes) < 10:
            ledger.check()
            codes.append(nursery.once(ledger.folder, _POISON))
        assert codes == [-signal.SIGSEGV] * _TRIES + [0]
        assert ledger.check_filed()["quarantine"] == 1
        (error,) = (ledger.data / "quarantine").glob("*.error.json")
        assert error.name == f"{place}.png.error.json"
        assert f"{_TRIES} times" in json.loads(error.read_bytes())["error"]


def test_two_poisoned_images(ledger: Ledger, nursery: Nursery, image: Images) -> None:
    """Each one has tries of its own; the others are judged all the same."""
    for number in range(6):
        ledger.drop(f"{number}.png", stamped(image(number), "POISON") if number in {1, 2} else image(number))
    deaths = 0
    while nursery.once(ledger.folder, _POISON):
        deaths += 1
        ledger.check()
        assert deaths <= 2 * _TRIES
    assert ledger.check_filed()["quarantine"] == 2


def test_clean_stops_are_no_tries(ledger: Ledger, nursery: Nursery, image: Images) -> None:
    """An image that was in hand at three clean stops, because it could not be filed, is judged and not quarantined."""
    ledger.drop("one.png", image(1))
    stuck = Fault(at=1, only="cam.part", error="EIO", times=10**6)
    for _ in range(_TRIES):
        daemon = nursery.start(ledger.folder, fault=stuck)
        daemon.wait_for("trouble")
        assert daemon.stop(10) == 0
        ledger.check()
    assert nursery.once(ledger.folder) == 0
    assert ledger.check_filed()["io"] == 1


def test_clean_stops_do_not_forgive(ledger: Ledger, nursery: Nursery, image: Images) -> None:
    """A clean stop between two deaths does not take the first one back: the poison is put away all the same."""
    ledger.drop("bad.png", stamped(image(1), "POISON"))
    stuck = Fault(at=1, only="claim.json", error="EIO", times=10**6)
    for _ in range(_TRIES):
        assert nursery.once(ledger.folder, _POISON) == -signal.SIGSEGV
        daemon = nursery.start(ledger.folder, fault=stuck)
        daemon.wait_for("watching")
        assert daemon.stop(10) == 0
        ledger.check()
    assert nursery.once(ledger.folder, _POISON) == 0
    assert ledger.check_filed()["quarantine"] == 1
