"""Many minimisations at once: the Huber loss of a form, from many starts, with many weightings, in one program.

A damped Gauss-Newton method. For residuals r(phi), weights c and s_i = min(1, delta / |r_i|), a step p solves

    (S J^T diag(c v) J S + lam I) S^-1 p = -S J^T (c s r),    S = diag(J^T diag(c s) J)^-1/2

where v_i is 1 inside of delta and min(lam, 1) s_i outside of it. With lam = 1 that is the majorising quadratic of
iteratively reweighted least squares, safe and slow; as lam falls the linear branches lose their curvature, which they
do not have, and what remains is Newton's method on the smooth ones. A step that does not descend is taken back.

Bounded parameters are searched by logarithm, and S makes a step independent of every unit.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from workbench.scaling._form import SMALLEST, AbstractForm

WIDTH = 64
"""Problems of one call of the compiled program; all sizes of batch share it, so that a form compiles once."""

MAX_STEPS = 300
GROW, SHRINK = 6.0, 0.25
START, LARGEST = 1.0, 1e10
LONGEST = 2.0
"""No parameter moves by more than this factor's logarithm in one step (or by this much, without a bound)."""

PROMISE = 1e-12
"""Stops when a step promises to lower the objective by less than this share of it."""

ROUNDING = 1e-22
"""An objective below this is 0: residuals of rounding."""

COMPILER = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}
"""The program runs for a tenth of a second: this halves the time to compile it, and runs a tenth slower."""


class Observed(NamedTuple):
    """The runs, as the program takes them: size, streams, ln loss, (runs,) each; numpy outside of it."""

    parameters: Any
    streams: Any
    log_loss: Any


class Ends(NamedTuple):
    """Where each minimisation ended: coordinates, objective, the share of it that one more step promises, bounds met.

    numpy, (problems, …).
    """

    phi: Any
    objective: Any
    promise: Any
    at_bound: Any


class _At(NamedTuple):
    """Where a minimisation stands, with the residuals and their derivatives there."""

    phi: Array
    r: Array
    J: Array
    objective: Array
    damping: Array
    promise: Array
    step: Array


def huber(residuals: Float[Array, "*n"], delta: float | Array) -> Float[Array, "*n"]:
    """e^2 / 2 where |e| <= delta, delta (|e| - delta / 2) beyond."""
    size = jnp.abs(residuals)
    return jnp.where(size <= delta, residuals**2 / 2, delta * (size - delta / 2))


def params_of(form: AbstractForm, phi: Any) -> dict[str, Array]:
    """The parameters by name at coordinates `phi`: exp(phi) where the bound is above 0, bound + exp(phi), or phi."""
    return {
        name: value if bound == -np.inf else min(bound, 0.0) + jnp.exp(value)
        for name, bound, value in zip(form.names, form.lower, phi, strict=True)
    }


def phi_of(form: AbstractForm, values: np.ndarray) -> np.ndarray:
    """Coordinates of parameters (..., d); below their bound they are put on it."""
    bounds, low = np.array(form.lower), lowest(form)
    base = np.where(np.isfinite(bounds), np.minimum(bounds, 0.0), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithm = np.maximum(np.log(values - base), low)
    return np.where(np.isfinite(bounds), logarithm, values)


def lowest(form: AbstractForm) -> np.ndarray:
    """The smallest coordinate of each parameter."""
    bounds = np.array(form.lower)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(bounds > 0, np.log(bounds), np.where(np.isfinite(bounds), np.log(SMALLEST), -np.inf))


def residuals(form: AbstractForm, observed: Observed, phi: Float[Array, " d"]) -> Float[Array, " runs"]:
    """ln L_observed - ln L_predicted."""
    return observed.log_loss - jnp.log(form.loss(params_of(form, phi), observed.parameters, observed.streams))


def descend(
    form: AbstractForm,
    observed: Observed,
    starts: np.ndarray,
    delta: float,
    counts: np.ndarray | None = None,
    free: np.ndarray | None = None,
) -> Ends:
    """Minimise sum_i counts_i Huber_delta(r_i) from each of `starts` (problems, d), over the coordinates in `free`.

    `counts` (problems, runs) or (runs,), 1 each by default: a run left out has 0. `free` (d,), bool: all by default.
    A start whose loss is not finite ends with the objective inf.
    """
    size, runs = len(starts), len(observed.log_loss)
    counts = np.broadcast_to(np.ones(runs) if counts is None else np.asarray(counts, float), (size, runs))
    free = np.ones(starts.shape[1]) if free is None else np.asarray(free, float)
    parts = []
    with jax.enable_x64(True):
        for at in range(0, size, WIDTH):
            rows = np.minimum(np.arange(at, at + WIDTH), size - 1)  # the last one again, up to the width
            parts.append(_descend(form, observed, starts[rows], counts[rows], free, np.float64(delta)))
        parts = jax.device_get(parts)
    phi, r, J, objective = (np.concatenate(columns)[:size] for columns in zip(*parts, strict=True))
    return Ends(phi, objective, *_what_is_left(phi, objective, r, J, counts, free, lowest(form), delta))


@partial(jax.jit, static_argnums=0, compiler_options=COMPILER)
def _descend(form: AbstractForm, observed: Observed, starts: Array, counts: Array, free: Array, delta: Array) -> tuple:
    """(phi, r, J, objective) of every problem. One evaluation of the form in the whole program: it compiles fast."""
    low = jnp.asarray(lowest(form))

    def both(phi: Array) -> tuple[Array, Array]:
        r = residuals(form, observed, phi)
        return r, r

    def one(start: Array, c: Array) -> tuple:
        def step(at: _At) -> _At:
            p, promise = _step(at, c, free, low, delta)  # 0 at first, so that the start itself is tried
            trial = jnp.maximum(at.phi + jnp.clip(p, -LONGEST, LONGEST), low)
            J, r = jax.jacfwd(both, has_aux=True)(trial)
            reached = (c * huber(r, delta)).sum()
            better = reached < at.objective
            damping = jnp.where(better, jnp.maximum(at.damping * SHRINK, 1e-12), at.damping * GROW)
            new = _At(trial, r, J, reached, damping, jnp.where(at.step == 0, jnp.inf, promise), at.step + 1)
            kept = [jnp.where(better, a, b) for a, b in zip(new[:4], at[:4], strict=True)]
            return _At(*kept, *new[4:])

        def going(at: _At) -> Array:
            small = (at.promise <= PROMISE * at.objective + ROUNDING) & (at.damping <= START)
            stuck = small | (at.damping > LARGEST) | ~jnp.isfinite(at.objective)
            return (at.step == 0) | (~stuck & (at.step < MAX_STEPS))

        n, d = observed.log_loss.size, start.size
        number = partial(jnp.full, (), dtype=start.dtype)
        nothing = jnp.zeros(n, start.dtype), jnp.zeros((n, d), start.dtype)
        first = _At(start, *nothing, number(jnp.inf), number(START / SHRINK), number(jnp.inf), jnp.zeros((), int))
        return lax.while_loop(going, step, first)[:4]

    return jax.vmap(one)(starts, counts)


def _step(at: _At, counts: Array, free: Array, low: Array, delta: Array) -> tuple[Array, Array]:
    """A damped step, and how much it promises to lower the objective, to second order."""
    s = delta / jnp.maximum(jnp.abs(at.r), delta)
    v = jnp.where(s < 1, jnp.minimum(at.damping, 1.0) * s, 1.0)
    g = at.J.T @ (counts * s * at.r)
    moves = jnp.where((at.phi <= low) & (g > 0), 0.0, free)
    square = moves * (at.J**2 * (counts * s)[:, None]).sum(0)
    scale = jnp.where(square > 0, 1 / jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
    J = at.J * scale[None, :]
    H = J.T @ (J * (counts * v)[:, None]) + at.damping * jnp.eye(low.size)
    p = -scale * jnp.linalg.solve(H, scale * g)
    return p, -(g * p).sum() / 2


def _what_is_left(
    phi: np.ndarray, objective: np.ndarray, r: np.ndarray, J: np.ndarray, counts: np.ndarray, free: np.ndarray,
    low: np.ndarray, delta: float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """(share of the objective that one step of reweighted least squares still promises, bounds that hold), numpy."""
    w = counts * delta / np.maximum(np.abs(r), delta)
    g = np.einsum("bnd,bn->bd", J, w * r)
    bound = (phi <= low) & (g > 0)
    J = J * (free * ~bound)[:, None, :]
    square = np.einsum("bnd,bn->bd", J**2, w)
    scale = np.divide(1.0, np.sqrt(square), out=np.zeros_like(square), where=square > 0)
    J = J * scale[:, None, :]
    H = np.einsum("bni,bn,bnj->bij", J, w, J) + 1e-9 * np.eye(low.size)
    promise = (scale * g * np.linalg.solve(H, (scale * g)[..., None])[..., 0]).sum(1) / 2
    share = np.where(promise <= ROUNDING, 0.0, promise / np.maximum(objective, ROUNDING))
    return np.where(np.isfinite(objective), share, np.inf), bound
