"""What is to become of an image, and what its record says: pure, but for the time."""

from __future__ import annotations

from datetime import UTC, datetime

from daemon.judging.steps import Judged
from filing.claim import Claim
from filing.decisions import Decision
from filing.names import utc
from inspection.inspector import Inspector
from settings.schema import CamSettings


def judged(claim: Claim, found: Judged, inspector: Inspector, settings: CamSettings) -> Decision:
    """An image goes where its verdict says.

    Args:
        claim: The image.
        found: What the workers found out.
        inspector: Who judged.
        settings: How maps are made.
    """
    inspection = found.inspection
    verdict = inspection.verdict
    record = {
        "time": utc(datetime.now(UTC)),
        "file": str(claim.source),
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
            "only_last_conv": settings.only_last_conv,
            "peak": round(inspection.peak, 6),
        },
        **found.record,
        "claimed": claim.claimed,
        "attempts": claim.attempts,
        "milliseconds": found.milliseconds,
    }
    return Decision(claim, verdict.label, record, found.picture)


def quarantined(claim: Claim, error: str) -> Decision:
    """An image that cannot be judged is put away, with the reason."""
    record = {
        "time": utc(datetime.now(UTC)),
        "file": str(claim.source),
        "error": error,
        "claimed": claim.claimed,
        "attempts": claim.attempts,
    }
    return Decision(claim, "quarantine", record)
