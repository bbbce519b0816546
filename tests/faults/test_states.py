"""A producer and the faults of the world act in any order; after each step the promise holds."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from harness import IMPATIENT, Daemon, Fault, Ledger, Nursery
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from filing.durable import digest, rename_noreplace

Images = Callable[[int], bytes]

_QUICKLY = "device: cpu\nruntime: torch\ninbox: {quiet_s: 0.05, scan_s: 0.05}\n"
_names = st.sampled_from(["a.png", "b.png", "lot/a.png", "-\n.png"])
_calls = st.integers(1, 100)
_faults = st.one_of(
    st.none(),
    st.builds(Fault, at=_calls),
    st.builds(
        Fault,
        at=_calls,
        error=st.sampled_from(["ENOSPC", "EIO", "ESTALE", "EROFS", "EACCES"]),
        times=st.sampled_from([1, 3, 20, 10**6]),
        settings=st.just(IMPATIENT),
    ),
)


class World(RuleBasedStateMachine):
    """One line: its producer, its daemon, and what befalls them."""

    happened: ClassVar[Counter[str]] = Counter()

    def __init__(self, ledger: Ledger, nursery: Nursery, image: Images) -> None:
        super().__init__()
        ledger.restore()
        self._ledger, self._nursery, self._image = ledger, nursery, image
        self._daemon: Daemon | None = None
        self._fault: Fault | None = None
        self._number = 0
        self._aside = ledger.folder / "aside"
        self._aside.mkdir(exist_ok=True)
        ledger.inbox.mkdir(parents=True)

    def _place(self, name: str) -> Path:
        place = self._ledger.inbox / name
        place.parent.mkdir(exist_ok=True)
        return place

    @rule(name=_names, readable=st.sampled_from([True, True, True, False]))
    def write(self, name: str, readable: bool) -> None:
        """An image arrives, or something that is none; a producer overwrites nothing."""
        self._number += 1
        data = self._image(self._number) if readable else f"no picture {self._number}".encode()
        new = self._aside / str(self._number)
        new.write_bytes(data)
        try:
            rename_noreplace(new, self._place(name))
        except FileExistsError:
            return
        self._ledger.expect(name, data)
        self.happened["arrived"] += 1

    @rule(name=_names, to=_names)
    def rename(self, name: str, to: str) -> None:
        """The producer gives a file another name, if it is still there."""
        try:
            rename_noreplace(self._place(name), self._place(to))
        except (FileNotFoundError, FileExistsError):
            return
        self.happened["renamed"] += 1

    @rule(name=_names)
    def delete(self, name: str) -> None:
        """The producer takes a file away, if it is still there; by a rename, so that we know which one it was."""
        gone = self._aside / "gone"
        try:
            self._place(name).rename(gone)
        except FileNotFoundError:
            return
        del self._ledger.arrived[digest(gone)]
        self.happened["deleted"] += 1

    @precondition(lambda self: self._daemon is None)
    @rule(fault=_faults)
    def start(self, fault: Fault | None) -> None:
        """It starts; maybe it will be killed at some call, or some calls will fail."""
        self._fault = fault
        self.happened["started" if fault is None else f"started to fail with {fault.error or 'SIGKILL'}"] += 1
        self._daemon = self._nursery.start(self._ledger.folder, fault=fault)

    @precondition(lambda self: self._daemon is not None)
    @rule()
    def kill(self) -> None:
        """SIGKILL."""
        assert self._daemon
        self._daemon.kill()
        self._daemon = None
        self.happened["killed"] += 1

    @precondition(lambda self: self._daemon is not None)
    @rule()
    def terminate(self) -> None:
        """SIGTERM: it ends well, whatever is failing meanwhile."""
        assert self._daemon
        code = self._daemon.stop(10)
        assert code == 0 or self._may_have_died(code) or not self._daemon.events("starting"), code
        self._daemon = None
        self.happened["terminated"] += 1

    @rule(seconds=st.sampled_from([0.05, 0.2, 0.5]))
    def wait(self, seconds: float) -> None:
        """Time goes by."""
        time.sleep(seconds)

    @invariant()
    def nothing_is_lost(self) -> None:
        """The promise, at this instant."""
        if self._daemon is None or self._died():
            self._ledger.check()
            return
        with self._daemon.frozen():
            self._ledger.check()

    def _died(self) -> bool:
        """Whether the daemon ended by itself; it may do so only for a reason.

        It is `_daemon` all the same until the next rule for running daemons: what rules there are may not depend on
        how fast things go.
        """
        assert self._daemon
        code = self._daemon.poll()
        assert code is None or self._may_have_died(code), f"exit code {code}"
        return code is not None

    def _may_have_died(self, code: int) -> bool:
        assert self._daemon
        if self._fault and self._fault.error is None:
            return code == -signal.SIGKILL
        return bool(self._fault) and code == 1 and not self._daemon.events("starting")

    def teardown(self) -> None:
        """In the end all is filed."""
        if self._daemon:
            self._daemon.kill()
        self._ledger.check()
        assert self._nursery.once(self._ledger.folder) == 0
        output = self._ledger.folder / "stdout.jsonl.out"
        assert "Traceback" not in output.read_text()
        self._ledger.check_filed()


@pytest.mark.timeout(900)
def test_anything_in_any_order(ledger: Ledger, nursery: Nursery, image: Images, long: bool) -> None:
    """Whatever producers do and whatever dies or fails, each image is whole in one place, and filed in the end."""
    (ledger.folder / "config.yaml").write_text(_QUICKLY)

    class Here(World):
        def __init__(self) -> None:
            super().__init__(ledger, nursery, image)

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=40 if long else 5,
            stateful_step_count=40 if long else 30,
            derandomize=True,
            deadline=None,
            database=None,
            print_blob=True,
            # Two runs are never alike to the millisecond, so what failed once is told as it was.
            phases=[Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(dict(World.happened))
