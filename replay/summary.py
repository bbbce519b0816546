"""What a replay found, as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from inspection.verdict import LABELS
from replay.tally import Tally


@dataclass(frozen=True)
class Run:
    """How the judging went, this time.

    Attributes:
        judged: Images judged, or read and found to be judged already.
        seconds: It took so long.
        judges: So many side by side.
        device: `cpu` or `cuda`.
    """

    judged: int
    seconds: float
    judges: int
    device: str

    @property
    def per_second(self) -> float:
        """Images."""
        return self.judged / max(self.seconds, 1e-9)


def summarise(tally: Tally, unread: int, models: list[str], against: list[str], run: Run) -> dict[str, Any]:
    """The numbers of `summary.json`.

    Args:
        tally: Of the results.
        unread: How many images could not be judged.
        models: The ids of those that judged.
        against: The same of those that are compared with; empty: the records' verdicts.
        run: How the judging went.
    """
    return {
        "images": tally.images + unread,
        "judged": tally.images,
        "unread": unread,
        "models": models,
        "against": against or "records",
        "verdicts": [{"before": before, "now": now, "images": n} for (before, now), n in sorted_counts(tally)],
        "reasons": dict(sorted(tally.reasons.items())),
        "changed": {f"to_{label}": tally.changed(label) for label in LABELS},
        "by_words": {
            "false_calls": {when: tally.mistakes("io", now=when == "now").as_dict() for when in ("before", "now")},
            "escapes": {when: tally.mistakes("nio", now=when == "now").as_dict() for when in ("before", "now")},
        },
        "boards": {
            "known": len(tally.boards),
            "changed": [
                {"product": product, "board": name, "before": change[0], "now": change[1]}
                for product, name, board in tally.changed_boards()
                if (change := board.change)
            ],
        },
        "by_product_and_month": [
            {"product": product, "month": month.strftime("%Y-%m") if month else None, **asdict(cell)}
            for (product, month), cell in sorted(tally.months.items(), key=lambda one: str(one[0]))
        ],
        "run": {
            "judged": run.judged,
            "seconds": round(run.seconds, 1),
            "images_per_second": round(run.per_second, 2),
            "judges": run.judges,
            "device": run.device,
            "ms_per_image": round(tally.ms / max(tally.images, 1), 2),
            "judge_hours_per_million": round(1e6 / max(run.per_second, 1e-9) * run.judges / 3600, 2),
        },
    }


def sorted_counts(tally: Tally) -> list[tuple[tuple[str | None, str], int]]:
    """Verdicts before and now, with how many there are of each pair."""
    return sorted(tally.verdicts.items(), key=lambda one: str(one[0]))
