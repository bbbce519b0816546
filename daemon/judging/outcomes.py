"""What is to become of an image, and what its record says: pure, but for the time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from daemon.judging.steps import Judged
from filing.claim import Claim
from filing.decisions import NO_PRODUCT, Decision
from filing.names import utc
from inspection.files import readable
from inspection.inspector import Inspector
from settings import Settings


def judged(
    claim: Claim, found: Judged, inspector: Inspector, settings: Settings, product: str | None = None
) -> Decision:
    """An image goes where its verdict says.

    Args:
        claim: The image.
        found: What the workers found out.
        inspector: Who judged.
        settings: How maps are made, and what names say.
        product: Whose model judged; None on a line without products.
    """
    inspection = found.inspection
    verdict = inspection.verdict
    record = {
        "time": utc(datetime.now(UTC)),
        "file": str(claim.source),
        **_units(claim, settings, product),
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
        **_units(claim, settings, settings.product_of(claim.source)),
        "error": error,
        "claimed": claim.claimed,
        "attempts": claim.attempts,
    }
    return Decision(claim, "quarantine", record)


def of_no_product(claim: Claim, settings: Settings) -> Decision:
    """An image that none of the line's products takes is put away; `requeue` brings it back."""
    tried = ", ".join(
        f"{name} ({'the group product of names.pattern' if product.match is None else f'match {product.match}'})"
        for name, product in settings.products.items()
    )
    said = settings.names.units(claim.source).product
    named = f", whose product is {readable(said)} by names.pattern," if said else ""
    error = (
        f"no product: {readable(str(claim.source))}{named} is taken by none of the products; tried {tried}; "
        "add it to products in the configuration, then solderwatch requeue"
    )
    decision = quarantined(claim, error, settings)
    return replace(decision, record={**decision.record, "reason": NO_PRODUCT})


def _units(claim: Claim, settings: Settings, product: str | None) -> dict[str, str]:
    """What the file's name says of the line's units, and whose model it is for; that counts where there are any."""
    units = settings.names.units(claim.source)
    told = {
        "product": product if settings.products else units.product,
        "board": units.board,
        "joint": units.joint,
        "view": units.view,
    }
    return {name: unit for name, unit in told.items() if unit is not None}
