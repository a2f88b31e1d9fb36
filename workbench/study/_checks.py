"""The kinds of check. Each reduces what a run returned to an estimate with an interval, and names the region that the
estimate must lie in; judging is then the same for all kinds: inside holds, outside fails, straddling is unclear.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Tolerance:
    """How far from the published figure p still agrees: p / factor - t ≤ ours ≤ p · factor + t with t = abs + rel |p|.

    Written, with its reason, before the run.
    """

    abs: float = 0.0
    rel: float = 0.0
    factor: float = 1.0
    reason: str = ""

    def __post_init__(self) -> None:
        for name in ("abs", "rel"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"tolerance.{name}: {getattr(self, name)!r} must be a number ≥ 0")
        if not self.factor >= 1:
            raise ValueError(f"tolerance.factor: {self.factor!r} must be a number ≥ 1")


@dataclass(frozen=True)
class Check:
    """What is tested: the `kind` (a key of `KINDS`) and its options.

    `side` ("at_least", "at_most") belongs to bound; `order` (best first; an inner list is a group without an order
    inside) and `better` ("higher", "lower") to ordering and non-inferiority; `statistic` ("mape", "median", "max") to
    model_error; `alpha` to distribution.
    """

    kind: str
    side: str = "at_least"
    order: tuple[Any, ...] = ()
    better: str = "higher"
    statistic: str = "mape"
    alpha: float = 1e-3

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"check.kind: {self.kind!r} must be one of {sorted(KINDS)}")
        choices = {"side": ("at_least", "at_most"), "better": ("higher", "lower"), "statistic": tuple(_STATISTICS)}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"check.{name}: {getattr(self, name)!r} must be one of {allowed}")
        if self.kind == "ordering" and len(self.order) < 2:
            raise ValueError(f"check.order: {self.order!r} must name at least two things, the best first")
        if self.kind == "non_inferiority" and len(self.order) != 2:
            raise ValueError(f"check.order: {self.order!r} must be [candidate, reference]")


class Estimate(NamedTuple):
    """A central value with its 95 % interval over `n` samples (lo = hi = value when n = 1)."""

    value: float
    lo: float
    hi: float
    n: int

    def words(self, decimals: int) -> str:
        """The value with its interval in brackets."""
        return f"{self.value:.{decimals}f} ({self.lo:.{decimals}f} to {self.hi:.{decimals}f})"


class Region(NamedTuple):
    """The closed interval [lo, hi] of values that agree with the claim (`open` excludes the lower end)."""

    lo: float
    hi: float
    open: bool = False

    def place(self, e: Estimate) -> str:
        """Where an estimate lies: "inside", "outside" or "straddling"; a value that is not finite lies outside."""
        if not all(math.isfinite(v) for v in (e.value, e.lo, e.hi)):
            return "outside"
        above = e.lo > self.lo if self.open else e.lo >= self.lo
        if above and e.hi <= self.hi:
            return "inside"
        below = e.hi <= self.lo if self.open else e.hi < self.lo
        return "outside" if below or e.lo > self.hi else "straddling"


@dataclass(frozen=True)
class Published:
    """The published figure as numbers: one value, or a pair of limits; both may be absent (an ordering)."""

    value: float | None = None
    lo: float | None = None
    hi: float | None = None


def mean_interval(samples: Any) -> Estimate:
    """Mean of the samples with Student's t interval: x̄ ± t₍n-1₎ s / √n."""
    values = np.atleast_1d(np.asarray(samples, dtype=float)).ravel()
    if values.size == 0:
        raise ValueError("a check needs at least one sample, and got none")
    if values.size == 1 or np.all(values == values[0]):
        return Estimate(float(values[0]), float(values[0]), float(values[0]), int(values.size))
    from scipy.special import stdtrit  # here, so that reading claims does not load scipy

    mean, n = float(values.mean()), values.size
    half = float(stdtrit(n - 1, 0.5 + _CONFIDENCE / 2) * values.std(ddof=1) / math.sqrt(n))
    return Estimate(mean, mean - half, mean + half, n)


def _require(raw: Any, names: Sequence[str], kind: str) -> list[np.ndarray]:
    if not isinstance(raw, Mapping) or not set(names) <= set(raw):
        raise ValueError(f"a {kind} check needs a mapping with {list(names)}, and got {raw!r}")
    return [np.atleast_1d(np.asarray(raw[name], dtype=float)) for name in names]


def _worst_sample(raw: Any, check: Check) -> Estimate:
    """For identities every sample counts: the one farthest from the others' side is what is judged."""
    values = np.atleast_1d(np.asarray(raw, dtype=float)).ravel()
    value = values[np.argmax(np.abs(values))] if np.all(np.isfinite(values)) else math.nan
    return Estimate(float(value), float(values.min()), float(values.max()), int(values.size))


def _samples(raw: Any, check: Check) -> Estimate:
    return mean_interval(raw)


def _slope(raw: Any, check: Check) -> Estimate:
    """Least-squares slope of log y over log x with its t interval."""
    x, y = _require(raw, ("x", "y"), "scaling")
    if x.size < 3 or x.size != y.size or np.any(x <= 0) or np.any(y <= 0):
        raise ValueError(f"a scaling check needs at least 3 positive pairs, and got x={x} y={y}")
    from scipy.special import stdtrit

    u, v = np.log(x), np.log(y)
    (slope, intercept), n = np.polyfit(u, v, 1), x.size
    residual = v - slope * u - intercept
    spread = math.sqrt(float(residual @ residual) / (n - 2) / float(((u - u.mean()) ** 2).sum()))
    half = float(stdtrit(n - 2, 0.5 + _CONFIDENCE / 2)) * spread
    return Estimate(float(slope), float(slope) - half, float(slope) + half, n)


def _margin(raw: Any, check: Check) -> Estimate:
    """The smallest lead of a better entry over the next one, paired by seed; positive when the order holds."""
    groups = [[entry] if isinstance(entry, str) else list(entry) for entry in check.order]
    names = [name for group in groups for name in group]
    samples = dict(zip(names, _require(raw, names, check.kind), strict=True))
    sign = 1.0 if check.better == "higher" else -1.0
    leads = []
    for better, worse in pairwise(groups):
        for a in better:
            for b in worse:
                if samples[a].size != samples[b].size:
                    raise ValueError(f"paired samples differ in number: {a} {samples[a].size}, {b} {samples[b].size}")
                leads.append(mean_interval(sign * (samples[a] - samples[b])))
    return min(leads, key=lambda e: e.lo if math.isfinite(e.lo) else -math.inf)


def _crossing(raw: Any, check: Check) -> Estimate:
    """Where curve a meets curve b over x, interpolated between the two nearest points; nan when they never meet."""
    x, a, b = _require(raw, ("x", "a", "b"), "crossover")
    gap = a - b
    turns = np.nonzero(np.sign(gap[:-1]) * np.sign(gap[1:]) <= 0)[0]
    if turns.size == 0:
        return Estimate(math.nan, math.nan, math.nan, x.size)
    i = int(turns[0])
    share = 0.0 if gap[i] == gap[i + 1] else gap[i] / (gap[i] - gap[i + 1])
    return Estimate(float(x[i] + share * (x[i + 1] - x[i])), float(x[i]), float(x[i + 1]), x.size)


def _p_value(raw: Any, check: Check) -> Estimate:
    """p of the two-sample Kolmogorov-Smirnov test that sample and reference have one distribution."""
    sample, reference = _require(raw, ("sample", "reference"), "distribution")
    from scipy.stats import ks_2samp

    p = float(ks_2samp(sample, reference).pvalue)
    return Estimate(p, p, p, sample.size)


_STATISTICS: dict[str, Callable[[np.ndarray], Any]] = {"mape": np.mean, "median": np.median, "max": np.max}


def _relative_error(raw: Any, check: Check) -> Estimate:
    """Relative error |predicted - observed| / |observed| over all points, by the chosen statistic."""
    predicted, observed = _require(raw, ("predicted", "observed"), "model_error")
    error = float(_STATISTICS[check.statistic](np.abs(predicted - observed) / np.abs(observed)))
    return Estimate(error, error, error, predicted.size)


def _around(published: Published, tolerance: Tolerance, check: Check) -> Region:
    lo = published.lo if published.lo is not None else published.value
    hi = published.hi if published.hi is not None else published.value
    lo, hi = (0.0, 0.0) if lo is None or hi is None else (lo, hi)
    # A factor widens away from the figure on both sides, whatever its sign.
    below = min(lo / tolerance.factor, lo * tolerance.factor)
    above = max(hi / tolerance.factor, hi * tolerance.factor)
    reach = tolerance.abs + tolerance.rel * max(abs(lo), abs(hi))
    return Region(below - reach, above + reach)


def _one_sided(published: Published, tolerance: Tolerance, check: Check) -> Region:
    around = _around(published, tolerance, check)
    return Region(around.lo, math.inf) if check.side == "at_least" else Region(-math.inf, around.hi)


def _at_most(published: Published, tolerance: Tolerance, check: Check) -> Region:
    return Region(-math.inf, _around(published, tolerance, check).hi)


def _equal(published: Published, tolerance: Tolerance, check: Check) -> Region:
    value = 0.0 if published.value is None else published.value
    return Region(value, value)


def _lead(published: Published, tolerance: Tolerance, check: Check) -> Region:
    return Region(-tolerance.abs, math.inf, open=True)


def _likely(published: Published, tolerance: Tolerance, check: Check) -> Region:
    return Region(check.alpha, 1.0)


class Kind(NamedTuple):
    """One kind of check: how a run's value becomes an estimate, and which region agrees with the claim.

    An `identity` holds at any scale; `ratio` says that estimate ÷ published has a meaning.
    """

    estimate: Callable[[Any, Check], Estimate]
    region: Callable[[Published, Tolerance, Check], Region]
    identity: bool = False
    needs_published: bool = True
    ratio: bool = True


KINDS: dict[str, Kind] = {
    "exact": Kind(_worst_sample, _equal, identity=True),
    "numerical": Kind(_worst_sample, _around, identity=True, needs_published=False),
    "scaling": Kind(_slope, _around),
    "ordering": Kind(_margin, _lead, needs_published=False, ratio=False),
    "non_inferiority": Kind(_margin, _lead, needs_published=False, ratio=False),
    "magnitude": Kind(_samples, _around),
    "bound": Kind(_samples, _one_sided),
    "range": Kind(_samples, _around),
    "crossover": Kind(_crossing, _around),
    "distribution": Kind(_p_value, _likely, needs_published=False, ratio=False),
    "model_error": Kind(_relative_error, _at_most),
}
