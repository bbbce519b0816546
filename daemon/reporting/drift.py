"""Watches whether the line still is what the model was trained for; says once that it is not, and that it is again.

Grey levels, sharpness and score are charted of images judged io only, against io images of the training: how many
defects there are differs from day to day, and from a curated data set, and must move none of these charts. Images
judged nio count in the chart of their share.

A file counts once, however many pages it has: with its verdict, and if that is io, with the mean over its pages of how
unusual each is among those of the training. Pages of one joint are alike: counted one by one, a single stack that is a
little unusual would look like a line that has moved.

That share has no yardstick in training either. It is what `drift.nio_share` says, or else it is learned from the first
500 images that this model judged without an alarm of this chart, and then stays: a chart that went on learning would
follow a slow change instead of telling it. Until then it is an alarm when clearly more than half of all are nio; a part
of which the model calls everything nio is told after 40 images. A line that is like that needs `drift.nio_share`.

All is a few additions per image. The state lies in the work folder, written now and then and durably; after a crash,
or a loss of power, the last seconds are forgotten, which no chart minds. Nothing here touches a verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from statistics import fmean
from time import monotonic
from typing import Any, Literal

from pydantic import NonNegativeInt, TypeAdapter

from daemon.reporting.charts import Limits, ShareLimits, Sides
from filing import durable
from filing.drift import Days, enter, state_name
from filing.folders import AwayError, Folders
from filing.logs import Log
from inspection.model import ModelCard
from inspection.reference import Reference
from inspection.signals import Signals
from inspection.verdict import Verdict
from settings.schema import DriftSettings

SHARE = "nio_share"
_LEARNED = 500
_UNLEARNED = ShareLimits(most=0.5, least=0.0)
_ROOM = 0.2
"""Between a chart's allowance and the highest score: with less it would take too long to move, whatever happened."""
_SAVE_EVERY_S = 10.0
_DIGITS = 4


@dataclass(frozen=True)
class Reading:
    """Where a chart stands.

    Attributes:
        signal: Its name.
        moved: Which way it has moved; None while it has not.
        by_std: So many standard deviations of the training's io images, 3 for more; None for the share of nio.
        now: The signal's mean over the last images, up to fifty, of those that the chart goes by.
        reference: What it ought to be.
        since: Time of the first of the images that moved it.
    """

    signal: str
    moved: Literal["up", "down"] | None
    by_std: float | None
    now: float
    reference: float
    since: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON, without what there is not."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass
class _State:
    """What outlives the process; of one model."""

    model: str = ""
    images: NonNegativeInt = 0
    learning: NonNegativeInt = 0
    nio: NonNegativeInt = 0
    charts: dict[str, Sides] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    since: str = ""
    days: Days = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.nio > self.learning:
            raise ValueError("more nio images than images")


_STATE = TypeAdapter(_State)


class DriftWatch:
    """The charts of a line, or of one product of it.

    Args:
        settings: Whether to watch, and what share of nio is usual.
        folders: The state is kept in `work`.
        log: Told once when the line has moved, once for each signal that joins, and once when all is as it was.
        product: Whose charts these are; None on a line without products.
    """

    def __init__(self, settings: DriftSettings, folders: Folders, log: Log, product: str | None = None) -> None:
        self._settings = settings
        self._folders = folders
        self._log = log
        self._name = state_name(product)
        self._model: str | None = None
        self._reference: Reference | None = None
        self._unwatched: str | None = None
        self._limits: dict[str, Limits] = {}
        self._state = _State()
        self._unsaved, self._urgent, self._saved_at = False, False, monotonic()

    def use(self, card: ModelCard) -> None:
        """Go by this model's reference; the charts begin anew when it is another model's."""
        if card.model_id == self._model:
            return
        if self._model is None and not self._restore():
            return
        self._model = card.model_id
        self._reference = card.reference if self._settings.watch else None
        signals = self._reference.signals if self._reference else {}
        limits = {name: Limits.of(found.standard_error) for name, found in signals.items()}
        self._limits = {
            name: found for name, found in limits.items() if found.allowance + _ROOM <= signals[name].highest_score
        }
        self._unwatched = self._why_unwatched(card, sorted(set(limits) - set(self._limits)))
        if self._unwatched and self._settings.watch:
            self._log.warning("drift_unwatched", model=card.model_id, why=self._unwatched)
        if self._state.model != card.model_id:
            if self._state.told:
                self._log.info("drift_over", model=self._state.model, since=self._state.since, why="another model")
            self._state, self._unsaved = _State(card.model_id, days=self._state.days), True
        charts = self._state.charts
        self._state.charts = {name: charts.get(name, Sides()) for name in (*self._limits, SHARE)}

    def _why_unwatched(self, card: ModelCard, too_few: list[str]) -> str | None:
        if not self._settings.watch:
            return "drift.watch is false"
        if card.reference is None:
            return "this model has no reference: train anew"
        return f"too few io images in training for: {', '.join(too_few)}; label more" if too_few else None

    def add(self, card: ModelCard, verdict: Verdict, pages: Sequence[Signals], time: str) -> None:
        """Take in a file that was judged; once, so not again when its decision is filed again.

        Args:
            card: Of the model that judged.
            verdict: Of the file.
            pages: The signals of each of its pages.
            time: Of the decision, UTC.
        """
        self.use(card)
        if self._reference is None:
            return
        charts, is_nio = self._state.charts, verdict.label == "nio"
        self._state.images += 1
        self._unsaved = True
        self._share_limits().add(charts[SHARE], nio=is_nio, time=time)
        self._learn_share(nio=is_nio)
        for name, limits in self._limits.items():
            values = [signals[name] for signals in pages if name in signals]
            if values and not is_nio:
                score = fmean(map(self._reference.signals[name].normal_score, values))
                limits.add(charts[name], score, fmean(values), time)
        for name, sides in charts.items():
            enter(self._state.days, time, name, max(sides.up.total, sides.down.total) / self._limit(name))
        self._tell()

    def _learn_share(self, *, nio: bool) -> None:
        state = self._state
        if state.learning < _LEARNED:
            state.learning, state.nio = state.learning + 1, state.nio + nio
            if state.charts[SHARE].moved:
                state.learning = state.nio = 0

    def _share_limits(self) -> ShareLimits:
        if self._settings.nio_share is not None:
            return ShareLimits(self._settings.nio_share, self._settings.nio_share)
        if self._state.learning >= _LEARNED:
            return ShareLimits.of(self._state.learning, self._state.nio)
        return _UNLEARNED

    def _limit(self, name: str) -> float:
        """That of a chart's sums."""
        return self._limits[name].limit if name in self._limits else self._share_limits().limit

    def _usual_share(self, reference: Reference) -> float:
        if self._settings.nio_share is not None:
            return self._settings.nio_share
        if self._state.learning >= _LEARNED:
            return self._state.nio / self._state.learning
        return reference.nio_share

    def _tell(self) -> None:
        """Say what has moved, unless it was said, and when all is as it was."""
        state = self._state
        moved = [name for name, sides in state.charts.items() if sides.moved]
        if not state.told and moved:
            for name, sides in state.charts.items():
                sides.join(self._limit(name))
            self._say("drift", [name for name, sides in state.charts.items() if sides.moved])
        elif joined := [name for name in moved if name not in state.told]:
            self._say("drift_more", joined)
        elif state.told and not moved:
            self._log.info("drift_over", model=state.model, since=state.since, signals=state.told)
            state.told, state.since, self._urgent = [], "", True

    def _say(self, event: str, names: list[str]) -> None:
        readings = [reading for reading in self.readings() if reading.signal in names]
        self._state.told += names
        self._state.since = self._state.since or min(reading.since for reading in readings)
        told = [reading.as_dict() for reading in readings]
        self._log.warning(event, model=self._state.model, since=self._state.since, signals=told)
        self._urgent = True

    def readings(self) -> list[Reading]:
        """Where each chart stands; none without a reference."""
        if self._reference is None:
            return []
        found = []
        for name, sides in self._state.charts.items():
            if name in self._limits:
                reference, by_std = self._reference.signals[name].typical, round(sides.leading.level, 2)
            else:
                reference, by_std = self._usual_share(self._reference), None
            side = sides.leading
            found.append(Reading(name, sides.moved, by_std, _short(side.value), _short(reference), side.since))
        return found

    def report(self) -> dict[str, Any]:
        """For the status and whoever measures: why not all is watched, since when it drifts, and all charts."""
        return {
            "unwatched": self._unwatched,
            "images": self._state.images,
            "since": self._state.since or None,
            "charts": [reading.as_dict() for reading in self.readings()],
        }

    def save(self, *, now: bool = False) -> None:
        """Write down what is new, now and then, and soon after something was told; or `now`."""
        due = now or self._urgent or monotonic() - self._saved_at >= _SAVE_EVERY_S
        if not (self._unsaved and due):
            return
        self._saved_at, self._urgent = monotonic(), False
        # Never worth a verdict: what cannot be written now is still unsaved, and tried again in a while.
        with suppress(OSError), self._folders.beneath("work") as work:
            new = work / f"{self._name}.new"
            durable.write(new, _STATE.dump_json(self._state))
            new.replace(work / self._name)
            self._unsaved = False

    def _restore(self) -> bool:
        """Go on with what was saved, or anew where that cannot be read; False while the work folder is away."""
        try:
            with self._folders.beneath("work") as work:
                self._state = _STATE.validate_json((work / self._name).read_bytes())
        except AwayError:
            return False
        except (OSError, ValueError):
            return True
        return True


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
