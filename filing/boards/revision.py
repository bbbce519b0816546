"""How notes change a board's record: pure, and the same whatever their order and however often they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from filing.boards.record import Answer, Board, Complete, Counts, Image, Joint, Key, Note, Reviewed
from settings.schema import CompleteSettings

_Images = Mapping[str, tuple[str | None, Image]]
"""By decision: the joint, and the image."""


def revised(
    before: Board | None, key: Key, run: int, notes: Iterable[Note], rules: CompleteSettings, now: str
) -> Board | None:
    """The next revision of a record.

    Args:
        before: The one before; None for a new run.
        key: Which board.
        run: Of the board.
        notes: What was heard of this run.
        rules: What is expected of a board.
        now: When this revision is made.

    Returns:
        `before` itself where the notes say nothing new; None where there is no image.
    """
    known = ((joint.joint, image) for joint in before.joints for image in joint.images) if before else ()
    old = {image.decision_id: (joint, image) for joint, image in known}
    images = dict(old)
    complete = before.complete if before else None
    said = None
    reviewed = [before.reviewed] if before and before.reviewed else []
    for note in notes:
        if note.image:
            found = images.get(note.image.decision_id)
            if found is None or (found[1].at <= note.image.at and found != (note.joint, note.image)):
                images[note.image.decision_id] = note.joint, note.image
        said = said or note.complete
        reviewed += [note.reviewed] if note.reviewed else []
    for name in _superseded(images):
        del images[name]
    if not images:
        return None
    joints = _joints(images, rules)
    counts = _counts(joints, rules)
    times = sorted(image.time for _, image in images.values())
    if complete is None and rules.joints and counts.joints >= rules.joints and not counts.missing:
        complete = Complete(by="joints", at=times[-1])
    complete = complete or said
    verdict, reason = _answer(counts, complete)
    board = Board(
        version=1,
        product=key.product,
        board=key.board,
        run=run,
        revision=before.revision if before else 1,
        time=before.time if before else now,
        verdict=verdict,
        reason=reason,
        complete=complete,
        reviewed=_last(reviewed, images),
        begun=times[0],
        ended=times[-1],
        counts=counts,
        models=sorted({image.model for _, image in images.values() if image.model}),
        joints=joints,
    )
    if before is None:
        return board
    # Without a look at each image's fields: of a large board that would take longest of all.
    same = images.keys() == old.keys() and all(images[name] is old[name] for name in old)
    if same and board.model_copy(update={"joints": before.joints}) == before:
        return before
    return board.model_copy(update={"revision": before.revision + 1, "time": now})


def _last(reviewed: Sequence[Reviewed], images: _Images) -> Reviewed | None:
    """Who was done with it last, if no image has changed since."""
    last = max(reviewed, key=lambda one: one.at, default=None)
    return last if last and all(image.at <= last.at for _, image in images.values()) else None


def subject(joint: str | None, image: Image) -> tuple[str | None, ...]:
    """What an image shows, as far as that is known: another one of the same tells what this one did not."""
    return (image.file,) if joint is None or image.view is None else (joint, image.view)


def _superseded(images: _Images) -> list[str]:
    """Images without a verdict of which a later one has come: put back and judged again, or delivered once more."""
    silent = {name: found for name, found in images.items() if found[1].outcome in {"quarantine", "requeued"}}
    if not silent:
        return []
    last: dict[tuple[str | None, ...], str] = {}
    for joint, image in images.values():
        shown = subject(joint, image)
        last[shown] = max(image.time, last.get(shown, ""))
    return [name for name, (joint, image) in silent.items() if image.time < last[subject(joint, image)]]


def _joints(images: _Images, rules: CompleteSettings) -> list[Joint]:
    by_joint: dict[str | None, list[Image]] = {}
    for joint, image in images.values():
        by_joint.setdefault(joint, []).append(image)
    joints = []
    for name, found in sorted(by_joint.items(), key=lambda item: (item[0] is not None, item[0] or "")):
        found.sort(key=lambda image: (image.view or "", image.time, image.decision_id))
        joints.append(Joint(joint=name, verdict=_of_joint(found, rules), images=found))
    return joints


def _of_joint(images: Sequence[Image], rules: CompleteSettings) -> Answer:
    outcomes = {image.outcome for image in images}
    if "nio" in outcomes:
        return "nio"
    return "io" if outcomes == {"io"} and _views(images) >= rules.views else "open"


def _views(images: Iterable[Image]) -> int:
    """How many views of a joint there are; without the group `view` each file is one."""
    return len({(image.view, image.file if image.view is None else None) for image in images})


def _counts(joints: Sequence[Joint], rules: CompleteSettings) -> Counts:
    outcomes = Counter(image.outcome for joint in joints for image in joint.images)
    missing = sum(max(rules.views - _views(joint.images), 0) for joint in joints)
    return Counts(
        joints=len(joints),
        nio_joints=sum(joint.verdict == "nio" for joint in joints),
        images=outcomes.total(),
        io=outcomes["io"],
        nio=outcomes["nio"],
        quarantine=outcomes["quarantine"],
        requeued=outcomes["requeued"],
        missing=missing + max((rules.joints or 0) - len(joints), 0) * rules.views,
    )


def _answer(counts: Counts, complete: Complete | None) -> tuple[Answer, str]:
    """The board's verdict, and why."""
    doubts = [
        *(["not complete"] if complete is None else []),
        *([f"{counts.missing} images missing"] if counts.missing else []),
        *([f"{counts.quarantine} in quarantine"] if counts.quarantine else []),
        *([f"{counts.requeued} to be judged again"] if counts.requeued else []),
    ]
    if counts.nio_joints:
        return "nio", ", ".join([f"{counts.nio_joints} of {counts.joints} joints nio", *doubts])
    if doubts:
        return "open", ", ".join(doubts)
    return "io", f"all {counts.images} images io"
