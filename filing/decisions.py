"""Files decided images away, in groups: each step is done for all of them before the next, so that they share syncs.

For each image the order is what it would be alone: the map, the record and the image itself are durable before its
decision is, the sidecars have appeared durably in io/, nio/ or quarantine/ before the image does.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from filing import durable
from filing.claim import DECISION, MAP, SIDECAR, Claim, place_of, remove_original
from filing.folders import Folders, told_by
from filing.names import free_names
from inspection.files import ERROR_SUFFIX, MAP_SUFFIX, RECORD_SUFFIX, readable, sync

Outcome = Literal["io", "nio", "quarantine"]
NO_PRODUCT = "no product"
"""The reason of an image in quarantine that none of the line's products takes."""

Guard = Callable[[Claim], AbstractContextManager[None]]
"""Around each step of one image: what it keeps to itself costs the others nothing, what it lets through ends them."""

_UNDECIDED = f"{DECISION}.new"


@dataclass(frozen=True)
class Decision:
    """What is to become of an image in hand.

    Attributes:
        claim: The image.
        outcome: The folder that it goes to.
        record: The sidecar's content; `commit` completes it with `decision_id`, `outcome` and `filed_as`.
        picture: The map as PNG bytes; None in quarantine, and where it lies in work already.
    """

    claim: Claim
    outcome: Outcome
    record: dict[str, Any]
    picture: bytes | None = None

    @cached_property
    def told(self) -> dict[str, Any]:
        """The record as sidecar and log have it: bytes of file names that are no UTF-8 are written as escapes."""
        return {key: readable(value) if isinstance(value, str) else value for key, value in self.record.items()}


class Filing:
    """Brings images from work to the folders of their verdicts.

    Args:
        folders: Of the line.
    """

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    def commit(self, decisions: Sequence[Decision], guard: Guard) -> list[Decision]:
        """Decide: from here on the images will be filed as their records say, whatever dies.

        Returns:
            Those whose decision is durable, completed.
        """
        with contextlib.ExitStack() as stack, _Targets(self._folders) as targets:
            written: list[tuple[Decision, durable.Unsynced]] = []
            for decision in decisions:
                with guard(decision.claim):
                    files = stack.enter_context(durable.Unsynced())
                    written.append((_write(decision, files, targets), files))
            synced = []
            for decision, files in written:
                with guard(decision.claim):
                    files.sync()
                    synced.append(decision)
        decided = _each(synced, guard, lambda claim: (claim.folder / _UNDECIDED).replace(claim.folder / DECISION))
        return _each(decided, guard, lambda claim: sync(claim.folder))

    @staticmethod
    def decided(claim: Claim) -> Decision:
        """The decision that an earlier try has left in work, durable now if its last step had failed."""
        sync(claim.folder)
        record = json.loads((claim.folder / DECISION).read_bytes())
        return Decision(claim, record["outcome"], record)

    def publish(self, decisions: Sequence[Decision], guard: Guard) -> list[Decision]:
        """Let decided images appear in their folders, sidecars first; can be repeated after a crash at any point.

        Returns:
            Those that did.
        """
        shown: list[Decision] = []
        while decisions:
            taken = []
            with _Targets(self._folders) as targets:
                for show in (self._show_sidecars, self._show_image):
                    left = []
                    for decision in decisions:
                        with guard(decision.claim):
                            try:
                                show(decision, targets)
                            except (FileExistsError, NotADirectoryError):
                                # Somebody else's file took the name since it was chosen.
                                taken.append(decision)
                            else:
                                left.append(decision)
                    targets.sync()
                    decisions = left
            shown += decisions
            decisions = self.commit(taken, guard)
        return shown

    def _show_sidecars(self, decision: Decision, targets: _Targets) -> None:
        """Move the sidecars; what is not in hand any more was moved before a crash."""
        remove_original(decision.claim, self._folders)
        with targets.open(decision.outcome, _place(decision).parent) as folder:
            pairs = _sidecar_pairs(decision, folder)
            with _taken_back(pairs):
                for part, place in pairs:
                    if part.exists():
                        durable.move(part, place)

    def _show_image(self, decision: Decision, targets: _Targets) -> None:
        with targets.open(decision.outcome, _place(decision).parent) as folder:
            pairs = _sidecar_pairs(decision, folder)
            with (
                _taken_back(pairs),
                contextlib.suppress(FileNotFoundError),
                place_of(decision.claim, self._folders) as held,
            ):
                durable.move(held, folder / _place(decision).name)


class _Targets:
    """The folders of io, nio and quarantine that a group of images goes to, each opened once; use as a context."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._stack = contextlib.ExitStack()
        self._opened: dict[tuple[Outcome, Path], Path] = {}

    @contextlib.contextmanager
    def open(self, outcome: Outcome, parent: Path) -> Iterator[Path]:
        """A folder in one of them, made if need be; see `Folders.beneath`."""
        folder = self._opened.get((outcome, parent))
        if folder is None:
            folder = self._stack.enter_context(self._folders.beneath(outcome, parent, make=True))
            self._opened[outcome, parent] = folder
        with told_by(self._folders[outcome] / parent, int(folder.name)):
            yield folder

    def sync(self) -> None:
        """Make durable what has appeared in any of them."""
        for folder in self._opened.values():
            os.fsync(int(folder.name))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _each(decisions: Sequence[Decision], guard: Guard, step: Callable[[Claim], object]) -> list[Decision]:
    """Take a step with each image; returns those with which it went well."""
    done = []
    for decision in decisions:
        with guard(decision.claim):
            step(decision.claim)
            done.append(decision)
    return done


def _write(decision: Decision, files: durable.Unsynced, targets: _Targets) -> Decision:
    """Write all that a decision needs, under the first free name; returns it complete."""
    claim, outcome = decision.claim, decision.outcome
    record = {"decision_id": uuid.uuid4().hex} | decision.record
    record |= {"outcome": outcome, "filed_as": str(_free_place(claim.source, outcome, targets))}
    decision = replace(decision, record=record)
    # What nobody could read can be put away all the same.
    with contextlib.suppress(*([OSError] if outcome == "quarantine" else [])):
        files.add(claim.image)
    if decision.picture is not None:
        files.write(claim.folder / MAP, decision.picture)
    files.write(claim.folder / SIDECAR, durable.to_json(decision.told))
    files.write(claim.folder / _UNDECIDED, json.dumps(record, allow_nan=False).encode())
    return decision


def _free_place(source: Path, outcome: Outcome, targets: _Targets) -> Path:
    """The first name in an output folder that neither an image nor a sidecar has."""
    try:
        with targets.open(outcome, source.parent) as folder:
            for name in free_names(source.name):
                ends, place = ("", *(suffix for _, suffix in _sidecars(outcome))), str(folder / name)
                if not any(os.path.lexists(place + end) for end in ends):
                    return source.parent / name
    except (NotADirectoryError, FileExistsError):
        # A file or a link has the name of a sub-folder: leave out the sub-folders.
        return _free_place(Path("_".join(source.parts)), outcome, targets)
    raise AssertionError("names never end")


def _place(decision: Decision) -> Path:
    """Where it is to go, inside the folder of its outcome."""
    return Path(decision.record["filed_as"])


def _sidecars(outcome: Outcome) -> list[tuple[str, str]]:
    """Which file of a claim becomes which sidecar."""
    if outcome == "quarantine":
        return [(SIDECAR, ERROR_SUFFIX)]
    return [(MAP, MAP_SUFFIX), (SIDECAR, RECORD_SUFFIX)]


def _sidecar_pairs(decision: Decision, folder: Path) -> list[tuple[Path, Path]]:
    """From where to where each sidecar goes."""
    name = _place(decision).name
    return [(decision.claim.folder / part, folder / (name + end)) for part, end in _sidecars(decision.outcome)]


@contextlib.contextmanager
def _taken_back(pairs: Sequence[tuple[Path, Path]]) -> Iterator[None]:
    """If a name turns out to be taken, sidecars that have appeared go back to work."""
    try:
        yield
    except FileExistsError:
        for part, place in pairs:
            if not part.exists():
                with contextlib.suppress(FileNotFoundError):
                    durable.move(place, part)
        raise
