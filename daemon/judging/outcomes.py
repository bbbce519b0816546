"""What is to become of an image, and what its record says: pure, but for the time."""

from __future__ import annotations

from datetime import UTC, datetime

from daemon.judging.steps import Judged
from filing.claim import Claim
from filing.decisions import Decision
from filing.names import utc
from inspection.inspector import Inspector
from settings import Settings


def judged(claim: Claim, found: Judged, inspector: Inspector, settings: Settings) -> Decision:
    """An image goes where its verdict says.

    Args:
        claim: The image.
        found: What the workers found out.
        inspector: Who judged.
        settings: How maps are made, and what names say.
    """
    inspection = found.inspection
    verdict = inspection.verdict
    record = {
        "time": utc(datetime.now(UTC)),
        "file": str(claim.source),
        **_units(claim, settings),
        "verdict": verdict.label,
        "reason": verdict.reason,
        "nio_probability": verdict.probability,
        "threshold": verdict.threshold,
        "novelty": verdict.novelty,
        "model": inspector.model.card.model_id,
        "device": str(inspector.model.device),
        "runtime": inspector.runtime,
        "cam": {
            "method": inspection.method,
            "only_last_conv": settings.cam.only_last_conv,
            "peak": round(inspection.peak, 6),
        },
        **found.record,
        "claimed": claim.claimed,
        "attempts": claim.attempts,
        "milliseconds": found.milliseconds,
    }
    return Decision(claim, verdict.label, record, found.picture)


def quarantined(claim: Claim, error: str, settings: Settings) -> Decision:
    """An image that cannot be judged is put away, with the reason."""
    record = {
        "time": utc(datetime.now(UTC)),
        "file": str(claim.source),
        **_units(claim, settings),
        "error": error,
        "claimed": claim.claimed,
        "attempts": claim.attempts,
    }
    return Decision(claim, "quarantine", record)


def _units(claim: Claim, settings: Settings) -> dict[str, str]:
    """What the file's name says of the line's units."""
    units = settings.names.units(claim.source)
    told = {"product": units.product, "board": units.board, "joint": units.joint, "view": units.view}
    return {name: unit for name, unit in told.items() if unit is not None}
