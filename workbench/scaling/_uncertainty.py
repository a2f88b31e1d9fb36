"""How far a fitted law can be trusted: its covariance, profiles of its parameters, and resamples of its runs.

The residuals e = ln L_observed - ln L_predicted are taken for normal with variance s^2 = sum e^2 / (n - d). With
psi(e) = clip(e, -delta, delta), the derivative of Huber's function, this gives for one parameter (Huber & Ronchetti,
Robust Statistics, 2nd edition: tests and covariances of M-estimates)

    rise of the objective that stays inside an interval   t^2 / 2  E[psi^2] / E[psi']
    covariance of the coordinates                         E[psi^2] / E[psi']^2  (J^T J)^-1

with t Student's quantile for n - d degrees of freedom. As delta grows both become those of least squares.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.special import stdtrit

from workbench.scaling._descend import Observed, descend, lowest, params_of, residuals
from workbench.scaling._form import AbstractForm

REACH = np.geomspace(0.25, 32, 32)
"""Distances from the optimum, in standard errors, at which a profile is looked at first, on either side."""

ROUNDS = 3
"""How often a profile is looked at: every time inside of the gap in which it crossed its limit."""


class Fitted(NamedTuple):
    """What these functions need of a law."""

    form: AbstractForm
    runs: Observed
    delta: float
    phi: np.ndarray
    objective: float


class Spread(NamedTuple):
    """Of the residuals, if they are normal: variance s^2, E[psi^2], E[psi'], and the degrees of freedom."""

    variance: float
    psi_square: float
    psi_slope: float
    freedom: int


def spread(e: np.ndarray, parameters: int, delta: float) -> Spread:
    """Variance of the residuals `e` and the moments of Huber's psi under it; infinite without degrees of freedom."""
    freedom = e.size - parameters
    if freedom < 1:
        return Spread(math.inf, math.inf, 1.0, 0)
    variance = max(float((e**2).sum()) / freedom, 1e-300)
    u = delta / math.sqrt(variance)
    inside = math.erf(u / math.sqrt(2))
    squares = inside - u * math.sqrt(2 / math.pi) * math.exp(-min(u * u / 2, 700.0))
    return Spread(variance, variance * squares + delta**2 * (1 - inside), inside, freedom)


def quantile(level: float, freedom: int) -> float:
    """Student's t between whose negative and itself lies the share `level`."""
    return float(stdtrit(freedom, (1 + level) / 2)) if freedom else math.inf


def covariance(law: Fitted, of: Spread, held: np.ndarray) -> np.ndarray:
    """Covariance (d, d) of the coordinates; 0 for those that a bound holds."""
    J = slopes(law.form, law.phi, law.runs.parameters, law.runs.streams)[1] * ~held
    length = np.linalg.norm(J, axis=0)
    scale = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    inverse = scale[:, None] * np.linalg.pinv(J * scale)
    return of.psi_square / of.psi_slope**2 * (inverse @ inverse.T)


def slopes(form: AbstractForm, phi: np.ndarray, N: np.ndarray, P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ln L (m,) at sizes N and streams P (m,), and its derivatives (m, d) by the coordinates."""
    with jax.enable_x64(True):
        value, J = jax.device_get(_slopes(form, phi, N, P))
    return value, J


@partial(jax.jit, static_argnums=0)
def _slopes(form: AbstractForm, phi: Array, N: Array, P: Array) -> tuple[Array, Array]:
    log_loss = lambda phi: -residuals(form, Observed(N, P, jnp.zeros_like(N)), phi)
    return log_loss(phi), jax.jacfwd(log_loss)(phi)


def profile(law: Fitted, name: str, rise: float, errors: np.ndarray) -> tuple[float, float]:
    """Both ends of the values of a parameter at which the others can keep the objective below its optimum + `rise`.

    `errors` (d, d) is the covariance: it says how far to look and where the others will be. A side on which the
    objective stays below ends at the parameter's bound, or is infinite.
    """
    j, low = law.form.names.index(name), lowest(law.form)
    error = math.sqrt(errors[j, j])
    error, along = (error, errors[:, j] / errors[j, j]) if 0 < error < math.inf else (1.0, np.zeros(law.phi.size))
    side = np.array([[-1.0], [1.0]])
    distance = np.minimum(REACH * error, np.array([[law.phi[j] - low[j]], [np.inf]]))
    gaps = [_Gap(0.0, law.objective, None, math.inf)] * 2
    for _ in range(ROUNDS):
        heights = _heights(law, j, (side * distance).ravel(), along, low).reshape(distance.shape)
        gaps = [_narrow(*row, law.objective + rise) for row in zip(gaps, distance, heights, strict=True)]
        inner = [np.linspace(gap.near, gap.near if gap.far is None else gap.far, REACH.size + 1)[1:] for gap in gaps]
        distance = np.stack(inner)
    ends = [_crossing(gap, law.objective + rise) for gap in gaps]
    return _value(law.form, j, law.phi[j] - ends[0]), _value(law.form, j, law.phi[j] + ends[1])


class _Gap(NamedTuple):
    """Distances from the optimum around a crossing, with the objective there; no `far` where none was found."""

    near: float
    near_height: float
    far: float | None
    far_height: float


def _heights(law: Fitted, j: int, offsets: np.ndarray, along: np.ndarray, low: np.ndarray) -> np.ndarray:
    """The objective with coordinate j moved by each of `offsets` and held there, the others at their best."""
    starts = np.maximum(law.phi + offsets[:, None] * along, low)
    starts[:, j] = law.phi[j] + offsets
    return descend(law.form, law.runs, starts, law.delta, free=np.arange(law.phi.size) != j).objective


def _narrow(gap: _Gap, distance: np.ndarray, heights: np.ndarray, limit: float) -> _Gap:
    outside = heights > limit
    if not outside.any():
        return gap
    i = int(np.argmax(outside))
    near, near_height = (distance[i - 1], heights[i - 1]) if i else (gap.near, gap.near_height)
    return _Gap(float(near), float(near_height), float(distance[i]), float(heights[i]))


def _crossing(gap: _Gap, limit: float) -> float:
    if gap.far is None:
        return math.inf
    if not math.isfinite(gap.far_height):
        return gap.far
    return gap.near + (gap.far - gap.near) * (limit - gap.near_height) / (gap.far_height - gap.near_height)


def _value(form: AbstractForm, j: int, phi: float) -> float:
    if math.isinf(phi):
        return math.inf if phi > 0 else form.lower[j]
    return phi if form.lower[j] == -math.inf else min(form.lower[j], 0.0) + math.exp(phi)


def resample(law: Fitted, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (samples, d) fitted to runs drawn with replacement, from the law's own, and what a step promises."""
    runs = law.runs.log_loss.size
    counts = np.random.default_rng(seed).multinomial(runs, np.full(runs, 1 / runs), size=samples)
    ends = descend(law.form, law.runs, np.tile(law.phi, (samples, 1)), law.delta, counts)
    return ends.phi, np.where(np.isfinite(ends.objective), ends.promise, np.inf)


def params_at(form: AbstractForm, phi: np.ndarray) -> dict[str, np.ndarray]:
    """Parameters by name at coordinates (..., d), as numpy."""
    with jax.enable_x64(True):
        return {name: np.asarray(value) for name, value in params_of(form, np.moveaxis(phi, -1, 0)).items()}
