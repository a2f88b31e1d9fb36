"""The one function that turns a published claim and the outcome of a run into a verdict."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.study._checks import KINDS, Estimate, Region
from workbench.study._claim import Claim

MIN_SEEDS = 5


@dataclass(frozen=True)
class Outcome:
    """What a run brings for one claim.

    `value` is measured or simulated: a number, one number a seed, or the mapping that the kind of check asks for.
    `modelled` comes from a cost model. `control` is the same quantity from a deliberately broken twin, which must fail
    the check; without it a check cannot speak for the paper.
    """

    value: Any = None
    modelled: Any = None
    control: Any = None
    conditions: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Judgement:
    """A verdict with its reason and the numbers behind it. `ratio` is ours ÷ published where both are numbers."""

    verdict: str
    reason: str
    estimate: Estimate | None = None
    modelled: Estimate | None = None
    control: Estimate | None = None
    within: bool | None = None
    negative_control_failed: bool | None = None
    ratio: float | None = None


def verdict(claim: Claim, outcome: Outcome | None) -> Judgement:
    """Judge one outcome against one claim; pure, and the only place where a verdict is made.

    Let e be the estimate with its interval and R the claim's region. e ⊂ R holds, e ∩ R = ∅ fails, else the result is
    inconclusive. Holding is *reproduced* at the published scale, *supported* at another, *modelled* for a model or
    simulation; failing is *contradicted* at the published scale if measured, or for an identity, else *not
    reproduced*.
    A check whose negative control is missing or does not fail is inconclusive, whatever it found.
    """
    if outcome is None:
        missing = claim.not_testable
        return (
            Judgement("not testable", missing)
            if missing
            else Judgement("untested", f"the {claim.preset} preset tests it")
        )
    kind, region = KINDS[claim.check.kind], claim.region
    raw = outcome.modelled if claim.evidence == "modelled" else outcome.value
    if raw is None:
        raise ValueError(f"claim {claim.id}: the outcome holds no {claim.evidence} value")
    estimate = kind.estimate(raw, claim.check)
    control = None if outcome.control is None else kind.estimate(outcome.control, claim.check)
    control_failed = None if control is None else region.place(control) == "outside"
    place = region.place(estimate)
    name, reason = _decide(claim, estimate, region, place, control, control_failed)
    modelled = None if outcome.modelled is None else kind.estimate(outcome.modelled, claim.check)
    published = claim.published.value
    return Judgement(
        name,
        reason,
        estimate=estimate,
        modelled=modelled,
        control=control,
        within=place == "inside",
        negative_control_failed=control_failed,
        ratio=estimate.value / published if kind.ratio and published else None,
    )


def _decide(
    claim: Claim,
    estimate: Estimate,
    region: Region,
    place: str,
    control: Estimate | None,
    control_failed: bool | None,
) -> tuple[str, str]:
    if control is None:
        return "inconclusive", "no negative control was run, so the check could not be seen to fail"
    if not control_failed:
        return (
            "inconclusive",
            f"the negative control ({control.value:.4g}) passed too: the check cannot tell them apart",
        )
    if claim.seeds and estimate.n < MIN_SEEDS:
        return "inconclusive", f"{estimate.n} seeds; a stochastic claim needs at least {MIN_SEEDS}"
    if not math.isfinite(estimate.value):
        return _negative(claim), f"the result is not finite ({estimate.value})"
    found = f"{estimate.value:.4g}" + (f" [{estimate.lo:.4g}, {estimate.hi:.4g}]" if estimate.lo != estimate.hi else "")
    wanted = _in_words(region)
    if place == "inside":
        return _positive(claim), f"{found} is {wanted}; the negative control, {control.value:.4g}, is not"
    if place == "straddling":
        return "inconclusive", f"{found} is partly {wanted} and partly not: the interval is too wide"
    return _negative(claim), f"{found} is not {wanted}"


def _in_words(region: Region) -> str:
    if region.lo == region.hi:
        return f"{region.lo:.6g}"
    if math.isinf(region.hi):
        return f"{'above' if region.open else 'at least'} {region.lo:.4g}"
    return f"at most {region.hi:.4g}" if math.isinf(region.lo) else f"in [{region.lo:.4g}, {region.hi:.4g}]"


def _positive(claim: Claim) -> str:
    if claim.evidence in ("modelled", "simulated") and not KINDS[claim.check.kind].identity:
        return "modelled"
    return "reproduced" if claim.same_scale else "supported"


def _negative(claim: Claim) -> str:
    settled = KINDS[claim.check.kind].identity or (claim.same_scale and claim.evidence == "measured")
    return "contradicted" if settled else "not reproduced"
