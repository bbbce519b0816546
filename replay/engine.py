"""Ray Data: hands places to judges on this machine or on a cluster, and brings their verdicts back as they come."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import torch

from inspection import errors
from inspection.errors import ConfigError, DeviceError, SolderwatchError, in_one_line
from replay.attempts import Attempts
from replay.job import JUDGED, Job
from replay.judging import Judge

# Before it is imported: no machine reports its use over the network, and what Ray has to say is in its log files.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")

import ray
from ray.data import ActorPoolStrategy, DataContext, from_arrow
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_WAVE, _PLACES = 256, 4_000_000
"""Tables that are handed over at a time, for each judge, and places in them at most: they wait in memory."""

_STORE_BYTES = 512 * 2**20
_ERROR = -1
"""The number of a row that is an error."""

_TRIES = 2
"""How often an image may be in hand alone when a judge dies."""


@dataclass(frozen=True)
class Wish:
    """Who shall judge; None: as many as there are cores, and what the configuration says of the device.

    Attributes:
        address: Of a cluster; None: this machine.
        actors: How many judge, each on a core.
        gpus: Share of a GPU that each has; 0: none.
    """

    address: str | None = None
    actors: int | None = None
    gpus: float | None = None


class JudgeActor:
    """A judge in a process of Ray's: it loads models once, and uses one core.

    Args:
        job: What is asked for.
        attempts: Who counts them.
        tries: How often an image may be in hand alone when a judge dies.
    """

    def __init__(self, job: Job, attempts: Any, tries: int) -> None:
        # Judges side by side keep the cores busy without waiting for each other.
        torch.set_num_threads(1)
        self._judge = Judge(job)
        self._attempts = attempts
        self._tries = tries

    def __call__(self, places: pa.Table) -> pa.Table:
        """Judge places; after a death one by one, so that an image that kills judges is found and put aside.

        An error of ours goes back as a row: Ray would make text of it.
        """
        try:
            return self._judged(places)
        except SolderwatchError as error:
            row = {"number": _ERROR, "path": type(error).__name__, "reason": str(error)}
            return pa.Table.from_pylist([row], schema=JUDGED)

    def _judged(self, places: pa.Table) -> pa.Table:
        number = places["number"][0].as_py()
        if ray.get(self._attempts.begin.remote("table", number)) == 1:
            found = self._judge(places)
        else:
            found = pa.concat_tables([self._one(places.slice(row, 1)) for row in range(len(places))])
        self._attempts.end.remote("table", number)
        return found

    def _one(self, place: pa.Table) -> pa.Table:
        number = place["number"][0].as_py()
        if ray.get(self._attempts.begin.remote("image", number)) > self._tries:
            return self._judge.given_up(place, "judges die of it: more than once with it alone in hand")
        found = self._judge(place)
        self._attempts.end.remote("image", number)
        return found


class Cluster:
    """Judges in processes of Ray's; see `started`.

    Args:
        judges: How many.
        gpus: Share of a GPU of each.
    """

    def __init__(self, judges: int, gpus: float) -> None:
        self.judges, self.gpus = judges, gpus

    def judge(self, job: Job, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """Judge tables of places; a table of results for each, as they come.

        Raises:
            SolderwatchError: Judges fail, whatever is tried.
        """
        # Where this process is: whatever other node is lost, what was counted is not.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        counter = ray.remote(num_cpus=0, max_restarts=-1)(Attempts).options(scheduling_strategy=here)
        attempts = counter.remote()
        arguments = {"job": job, "attempts": attempts, "tries": _TRIES}
        while wave := _wave(tables, _WAVE * self.judges):
            found = from_arrow(wave).map_batches(
                JudgeActor,
                batch_size=None,
                batch_format="pyarrow",
                compute=ActorPoolStrategy(size=min(self.judges, len(wave)), max_tasks_in_flight_per_actor=2),
                num_cpus=1,
                num_gpus=self.gpus or None,
                fn_constructor_kwargs=arguments,
            )
            with _told_plainly():
                for table in found.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=2):
                    _raise_what_came(table)
                    yield table


def _wave(tables: Iterator[pa.Table], most: int) -> list[pa.Table]:
    """The next tables."""
    found: list[pa.Table] = []
    places = 0
    for table in islice(tables, most):
        found.append(table)
        places += len(table)
        if places >= _PLACES:
            break
    return found


@contextmanager
def started(wish: Wish, device: str) -> Iterator[tuple[Cluster, str]]:
    """Ray, as a context: its judges, and the device that they shall use.

    Args:
        wish: Who shall judge.
        device: As the configuration says.

    Raises:
        ConfigError: There is no such cluster, or fewer cores than actors.
        DeviceError: A GPU is asked for, and none is there.
    """
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if wish.address is None:
        options |= {"include_dashboard": False, "object_store_memory": _STORE_BYTES, "num_cpus": wish.actors}
    try:
        ray.init(address=wish.address or "local", **options)
    except (ConnectionError, RayError, RuntimeError, ValueError) as error:
        raise ConfigError(f"--address: {wish.address or 'this machine'}: no Ray there: {in_one_line(error)}") from None
    try:
        context = DataContext.get_current()
        context.enable_progress_bars = False
        there = ray.cluster_resources()  # type: ignore[no-untyped-call]
        cores, cards = int(there.get("CPU", 0)), there.get("GPU", 0.0)
        actors = wish.actors or max(cores, 1)
        if actors > cores:
            raise ConfigError(f"--actors: {actors}: there are {cores} cores; each judge needs one")
        gpus = _share(wish.gpus, device, cards, actors)
        yield Cluster(actors, gpus), "cuda" if gpus else "cpu"
    finally:
        ray.shutdown()


def _share(wanted: float | None, device: str, cards: float, actors: int) -> float:
    """The share of a GPU that each judge has."""
    if wanted == 0 or device == "cpu" or (device == "auto" and not cards and not wanted):
        if wanted:
            raise ConfigError("--gpus: the configuration says device: cpu; set device: auto or cuda")
        return 0.0
    if not cards:
        raise DeviceError("Ray knows of no GPU; set device: cpu, or mend the driver")
    return wanted or min(1.0, int(1000 * cards / actors) / 1000)


def _raise_what_came(table: pa.Table) -> None:
    """Raise the error that a judge had, as if it had been here."""
    if len(table) and table["number"][0].as_py() == _ERROR:
        kind = getattr(errors, table["path"][0].as_py())
        raise kind(table["reason"][0].as_py())


@contextmanager
def _told_plainly() -> Iterator[None]:
    """What Ray itself fails of is told in a line."""
    try:
        yield
    except SolderwatchError:
        raise
    except Exception as error:
        raise SolderwatchError(f"Ray gave up: {in_one_line(error)}; --resume goes on") from error
