"""Newton held back by a trust region: Levenberg-Marquardt as a Kalman filter and smoother, both parallel over time."""

import dataclasses
import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from workbench.rnn._jacobian import AbstractJacobian, Block, Diagonal
from workbench.rnn._scan import AbstractScan, Serial, TwoLevel, affine_scan
from workbench.rnn._solver import Iterate, IterativeSolver
from workbench.rnn._system import System

GROW, SHRINK = 10.0, 0.3
"""What lam is multiplied by after an iteration that raised the merit, and after one that lowered it."""

SMALLEST = 1e-12
"""lam stops shrinking here (relative to 1, the weight of the equations): Newton, to rounding."""


class Element(NamedTuple):
    """A stretch of the linear-Gaussian model as an element of the associative filter.

    p(s_end | s_before, observations inside) = N(A s_before + b, C), and the likelihood of what is observed inside is
    proportional to the Gaussian in s_before of information vector eta and matrix J. A, C, J are Jacobians (structured),
    b and eta vectors. Särkkä & García-Fernández (IEEE TAC 66, 2021, section IV).
    """

    A: AbstractJacobian
    b: Array
    C: AbstractJacobian
    eta: Array
    J: AbstractJacobian


@dataclasses.dataclass(frozen=True)
class Elk(IterativeSolver):
    """Levenberg-Marquardt on all states at once (ELK): converges where Newton overshoots and blows up.

    h <- h + delta, delta = argmin sum_t |delta_t - J_t delta_{t-1} - r_t|^2 + lam sum_t |delta_t|^2

    That is the path of most probability of a linear-Gaussian model with noise I, observed as 0 with noise I / lam: the
    means of a Kalman filter followed by the smoother (`smoother=True`). Without it the filtered means are taken, as the
    published code does: cheaper, often faster, and no minimiser. lam = 0 is Newton; a large lam leaves h where it is.

    `lam`, the weight at the start; `schedule` "adaptive" has each sequence multiply it by GROW after an iteration that
    raised the merit 0.5 sum_t |r_t|^2 and by SHRINK after one that lowered it, taking back a step that is not finite
    or, with the smoother, that raised the merit; "fixed" keeps it. The filter runs serially with `scan=Serial()`, in
    chunks with `TwoLevel`, as a tree otherwise. Memory is a handful of Jacobians a step. `steps` and `patience` as for
    `Newton`.

    Raises ValueError for lam < 0 or not finite, an unknown schedule, and as `Newton` does.
    Source: Gonzalez et al. (arXiv 2407.19115, section 4.2).
    """

    lam: float = 0.1
    smoother: bool = False
    schedule: Literal["adaptive", "fixed"] = "adaptive"
    steps: int | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.lam >= 0 and math.isfinite(self.lam)):
            raise ValueError(f"lam: {self.lam!r}, must be a finite number of at least 0")
        if self.schedule not in ("adaptive", "fixed"):
            raise ValueError(f"schedule: {self.schedule!r}, must be 'adaptive' or 'fixed'")

    def init(self, system: System, guess: Array, scan: AbstractScan) -> Iterate:
        residuals, J = system.evaluate(guess)
        residual = system.norm(residuals)
        lam = jnp.full((1, *residual.shape), self.lam, residual.dtype)
        return Iterate(guess, residual, (residuals, J, lam, _merit(system, residuals)[None]))

    def step(self, system: System, iterate: Iterate, scan: AbstractScan) -> Iterate:
        residuals, J, lam, merit = iterate.carry
        delta = levenberg_marquardt(J, residuals, lam, scan, smoother=self.smoother)
        states = iterate.states + delta
        residuals, J = system.evaluate(states)
        residual, merit_new = system.norm(residuals), _merit(system, residuals)[None]
        if self.schedule == "fixed":
            return Iterate(states, residual, (residuals, J, lam, merit_new))
        fell = merit_new <= merit  # False for nan
        lam = jnp.maximum(lam * jnp.where(fell, SHRINK, GROW).astype(lam.dtype), SMALLEST)
        keep = fell if self.smoother else jnp.isfinite(merit_new)
        old, new = (iterate.states, *iterate.carry[:2]), (states, residuals, J)
        states, residuals, J = jax.tree.map(lambda a, b: jnp.where(_like(keep, a), b, a), old, new)
        return Iterate(
            states,
            jnp.where(keep[0], residual, iterate.residual),
            (residuals, J, lam, jnp.where(keep, merit_new, merit)),
        )


def levenberg_marquardt(
    J: AbstractJacobian, r: Float[Array, "time ..."], lam: Array, scan: AbstractScan, *, smoother: bool
) -> Float[Array, "time ..."]:
    """The filtered or smoothed means of delta_t = J_t delta_{t-1} + r_t + N(0, I), observed as 0 with noise I / lam.

    `lam` is (1, *batch).
    """
    gain = lam / (1 + lam)  # of one observation after one step from a known state
    J = J.zero_first()
    eye = J.identity()
    K = jax.tree.map(lambda a: a * _like(gain, a), eye)
    kept = jax.tree.map(jnp.subtract, eye, K)
    information = K.compose(J)
    elements = Element(
        kept.compose(J), kept.apply(r), kept, -information.transpose().apply(r), J.transpose().compose(information)
    )
    filtered = _prefix(elements, scan)
    if not smoother:
        return filtered.b
    later = J.adjoint()  # J_{t+1}^T
    spread = jax.tree.map(jnp.add, later.transpose().compose(filtered.C).compose(later), eye)
    G = filtered.C.compose(later).compose(_inverse(spread))
    predicted = later.transpose().apply(filtered.b) + jnp.concatenate([r[1:], jnp.zeros_like(r[:1])])
    return affine_scan(G, filtered.b - G.apply(predicted), reverse=True, backend=scan)


def _combine(first: Element, then: Element) -> Element:
    CJ = first.C.compose(then.J)
    M = _inverse(jax.tree.map(jnp.add, CJ.identity(), CJ))
    # Without the barrier XLA computes the inverse anew for every entry that uses it, and compiles for long.
    AM, AMt = lax.optimization_barrier((then.A.compose(M), first.A.transpose().compose(M.transpose())))
    return Element(
        AM.compose(first.A),
        AM.apply(first.b + first.C.apply(then.eta)) + then.b,
        jax.tree.map(jnp.add, AM.compose(first.C).compose(then.A.transpose()), then.C),
        AMt.apply(then.eta - then.J.apply(first.b)) + first.eta,
        jax.tree.map(jnp.add, AMt.compose(then.J).compose(first.A), first.J),
    )


def _prefix(elements: Element, scan: AbstractScan) -> Element:
    """All prefixes of the filter. The elements are no affine maps, so the backend's kind is taken, not its code."""
    if isinstance(scan, Serial):
        return _serial(elements)
    if not isinstance(scan, TwoLevel):
        return _doubling(elements)
    time, chunk = elements.b.shape[0], scan.chunk
    chunks = -(-time // chunk)

    def split(a: Array) -> Array:  # elements of zeros after the end change nothing before it
        padding = [(0, chunks * chunk - time)] + [(0, 0)] * (a.ndim - 1)
        return jnp.swapaxes(jnp.pad(a, padding).reshape(chunks, chunk, *a.shape[1:]), 0, 1)

    inside = _serial(jax.tree.map(split, elements))
    ends = _serial(jax.tree.map(lambda a: a[-1], inside))
    before = jax.tree.map(lambda one, a: jnp.concatenate([one[None], a[:-1]]), _identity(ends), ends)
    joined = jax.vmap(_combine, (None, 0))(before, inside)
    return jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1).reshape(chunks * chunk, *a.shape[2:])[:time], joined)


def _doubling(elements: Element) -> Element:
    """log2 T rounds of the same T combinations: more work than a tree, whose levels would each be compiled apart."""
    time = elements.b.shape[0]
    neutral = _identity(elements)

    def join(i: Array, elements: Element) -> Element:
        far = jnp.left_shift(1, i)

        def earlier(one: Array, a: Array) -> Array:
            inside = (jnp.arange(time) >= far).reshape(time, *[1] * one.ndim)
            return jnp.where(inside, jnp.roll(a, far, axis=0), one[None])

        return _combine(jax.tree.map(earlier, neutral, elements), elements)

    return lax.fori_loop(0, (time - 1).bit_length(), join, elements)


def _serial(elements: Element) -> Element:
    def body(carry: Element, element: Element) -> tuple[Element, Element]:
        carry = _combine(carry, element)
        return carry, carry

    return lax.scan(body, _identity(elements), elements)[1]


def _identity(elements: Element) -> Element:
    """The neutral element, in the shape of one step: it passes the state on and has seen nothing."""
    zero = jax.tree.map(lambda a: jnp.zeros_like(a[0]), elements)
    return zero._replace(A=zero.A.identity())


def _inverse(J: Any) -> Any:
    if isinstance(J, Diagonal):
        return Diagonal(jnp.reciprocal(J.d))
    m = J.m
    if m.shape[-1] != 2:
        return Block(jnp.linalg.inv(m))
    a, b, c, d = (m[..., i, j] for i in (0, 1) for j in (0, 1))  # a library call a matrix would cost more
    adjugate = jnp.stack([jnp.stack([d, -b], -1), jnp.stack([-c, a], -1)], -2)
    return Block(adjugate / (a * d - b * c)[..., None, None])


def _merit(system: System, residuals: Array) -> Float[Array, "*batch"]:
    axes = (0, *range(1 + system.batch_ndim, residuals.ndim))
    return 0.5 * (residuals * residuals).sum(axes)


def _like(a: Array, b: Array) -> Array:
    """(1, *batch) with trailing axes of length 1, to go with b."""
    return a.reshape(a.shape + (1,) * (b.ndim - a.ndim))
