"""A judged outcome as a flat row, which is how the store and the scoreboard hold it."""

from collections.abc import Mapping
from typing import Any

from workbench.study._claim import Claim
from workbench.study._verdict import Judgement, Outcome


def result_row(claim: Claim, outcome: Outcome, judgement: Judgement) -> dict[str, Any]:
    """A judged outcome as a row of the store's `results` table; `outcome` keeps the raw values as JSON."""
    measured = None if claim.evidence == "modelled" else judgement.estimate
    modelled = judgement.estimate if claim.evidence == "modelled" else judgement.modelled
    published, ratio = claim.published.value, judgement.ratio
    return {
        "claim_id": claim.id,
        "paper_id": claim.paper,
        "claim_hash": claim.hash,
        "evidence": claim.evidence,
        "published": published,
        **_spread("measured", measured),
        **_spread("modelled", modelled),
        "n_seeds": judgement.estimate.n if judgement.estimate else None,
        "ratio": ratio,
        "rel_err": None if ratio is None else abs(ratio - 1),
        "within_tol": judgement.within,
        "negative_control_failed": judgement.negative_control_failed,
        "control": judgement.control.value if judgement.control else None,
        "verdict": judgement.verdict,
        "verdict_reason": judgement.reason,
        "conditions_here": {
            **claim.scale_here,
            **outcome.conditions,
            **({"note": outcome.note} if outcome.note else {}),
        },
        "outcome": {name: plain(getattr(outcome, name)) for name in ("value", "modelled", "control")},
    }


def plain(value: Any) -> Any:
    """Arrays and scalars of any library as lists and numbers that JSON can hold."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _spread(name: str, estimate: Any) -> dict[str, float | None]:
    value, lo, hi = (None, None, None) if estimate is None else (estimate.value, estimate.lo, estimate.hi)
    return {name: value, f"{name}_lo": lo, f"{name}_hi": hi}
