"""What can be said about a solution after the fact: how wrong it may be, and whether it was predictable at all."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from workbench.rnn._cell import AbstractCell
from workbench.rnn._door import FLOOR_UNITS
from workbench.rnn._jacobian import AbstractJacobian, Block
from workbench.rnn._scan import TwoLevel, affine_scan
from workbench.rnn._system import System, bind

CURVATURE_ITERATIONS = 6
"""Power iterations for the largest second derivative of a step; one is enough where df/dh is diagonal."""


class Bounds(NamedTuple):
    """How far the states may be from the solution, a sequence each: to first order, and proved (inf where not).

    `lipschitz` is Lip(J) as estimated, `residual_norm` |r|_2 over all steps, `source` the largest |.|_2 over the steps
    of |r_t| + 4 eps |h_t|.
    """

    first_order: Float[Array, "*batch"]
    proved: Float[Array, "*batch"]
    lipschitz: Float[Array, "*batch"]
    residual_norm: Float[Array, "*batch"]
    source: Float[Array, "*batch"]


@partial(jax.jit, static_argnums=0)
def error_bounds(cell: AbstractCell, data: tuple, states: Float[Array, "..."]) -> Bounds:
    """How far the states may be from the solution, entry by entry; `states` in the user's layout (..., time, *state).

    To first order max_t e_t with e_t = |J_t| e_{t-1} + |r_t| + 4 eps |h_t|, e_0 = 0: one linear scan. A few units of
    rounding a step are counted, because no residual shows them. Then the remainder is closed over: the error obeys
    |e_t| <= |J_t||e_{t-1}| + L/2 |e_{t-1}|_2^2 + |r_t|. Let E be twice the first-order bound: if the same scan with
    L/2 k E^2 added to its sources stays below E, then by induction so does the error (k: size of a Jacobian block),
    and what the scan gives is a bound; else nothing is known, and it is infinite. L = Lip(J) is `lipschitz`, an
    estimate along the states. Infinite, too, where a state or a product of Jacobians is not finite.
    """
    system = bind(cell, *data)
    residuals, sources, J = _sources(system, states)
    follow = jax.vmap(lambda b: affine_scan(J.abs(), b, backend=TwoLevel()))
    errors, of_ones = follow(jnp.stack([sources, jnp.ones_like(sources)]))  # linear in its sources
    first = system.norm(errors)
    L = lipschitz(system, states)
    remainder = 0.5 * L * (J.k if isinstance(J, Block) else 1) * (2 * first) ** 2
    second = system.norm(errors + remainder.reshape(1, *first.shape, *(1,) * len(cell.state_shape)) * of_ones)
    axes = tuple(range(1 + system.batch_ndim, sources.ndim))
    norm = lambda a, axes: _finite_or_inf(jnp.sqrt((a * a).sum(axes)))
    proved = jnp.where(second <= 2 * first, second, jnp.inf)
    return Bounds(first, proved, L, norm(residuals, (0, *axes)), norm(sources, axes).max(0))


def lipschitz(system: System, states: Float[Array, "..."]) -> Float[Array, "*batch"]:
    """An estimate of Lip(J): the largest |dJ_t/dh_{t-1}| (Frobenius, by block) at the states given, over all times.

    max over unit v of |dJ[v]|_F by power iteration with a vector a block. Exact at these states where df/dh is
    diagonal; between the states nothing is looked at.
    """
    h = system.shift(jnp.moveaxis(states, system.batch_ndim, 0))
    J, push = jax.linearize(lambda h: system.cell.jacobian(system.params, h, system.inputs), h)
    pull = jax.linear_transpose(push, h)
    k = J.k if isinstance(J, Block) else 1

    def unit(v: Array) -> Array:
        blocks = v.reshape(-1, k)
        norm = jnp.sqrt((blocks * blocks).sum(-1, keepdims=True))
        return (blocks / jnp.where(norm == 0, 1, norm)).reshape(v.shape)

    v = unit(jax.random.normal(jax.random.key(0), h.shape, h.dtype))
    v = lax.fori_loop(0, CURVATURE_ITERATIONS, lambda _, v: unit(pull(push(v))[0]), v)
    return _block_norms(push(v), system.batch_ndim).max(0)


@partial(jax.jit, static_argnums=0)
def lyapunov(cell: AbstractCell, data: tuple) -> Float[Array, "*batch"]:
    """(1/T) log|J_T ... J_1 v|, in nats a step: power iteration along the sequential rollout, renormalised every step.

    v is a fixed Gaussian direction. Below 0 Newton needs O(log T) iterations; above 0 it does not parallelise
    (Gonzalez et al., arXiv 2508.16817). A product that vanishes gives -inf, a rollout that overflows nan.
    Steps that resets or padding cut off from the one before are left out.
    """
    system = bind(cell, *data)
    joined = cell.connected(system.inputs)
    steps = jax.tree.leaves(system.inputs)[0].shape[0] if joined is None else jnp.maximum(joined.sum(0), 1)
    return _log_growth(system)[-1] / jnp.asarray(steps, system.initial.dtype)


@partial(jax.jit, static_argnums=0)
def log_growth(cell: AbstractCell, data: tuple) -> Float[Array, "*batch time"]:
    """log|J_t ... J_1 v| for every t: t times the exponent of the first t steps."""
    return jnp.moveaxis(_log_growth(bind(cell, *data)), 0, -1)


def _log_growth(system: System) -> Float[Array, "time *batch"]:
    """log|J_t ... J_1 v| at every time t; v a unit vector."""
    axes = tuple(range(system.batch_ndim, system.initial.ndim))

    def body(carry: tuple, u: Any) -> tuple[tuple, Array]:
        h, v, total = carry
        h_next, J = system.cell.step_and_jacobian(system.params, h, u)
        joined = system.cell.connected(u)  # what is cut off neither shrinks nor grows v
        v = J.apply(v) if joined is None else jnp.where(joined.reshape(*joined.shape, *[1] * len(axes)), J.apply(v), v)
        norm = jnp.sqrt((v * v).sum(axes, keepdims=True))
        total = total + jnp.log(norm).reshape(total.shape)
        return (h_next, v / jnp.where(norm == 0, 1, norm), total), total

    v = jax.random.normal(jax.random.key(0), system.cell.state_shape, system.initial.dtype)
    v = jnp.broadcast_to(v / jnp.sqrt((v * v).sum()), system.initial.shape)  # the same for every sequence
    total = jnp.zeros(system.initial.shape[: system.batch_ndim], v.dtype)
    return lax.scan(body, (system.initial, v, total), system.inputs)[1]


def _sources(system: System, states: Array) -> tuple[Array, Array, AbstractJacobian]:
    """(r_t, |r_t| + 4 eps |h_t|, J_t) at the states given."""
    h = jnp.moveaxis(states, system.batch_ndim, 0)
    residuals, J = system.evaluate(h)
    return residuals, jnp.abs(residuals) + FLOOR_UNITS * jnp.finfo(h.dtype).eps * jnp.abs(h), J


def _finite_or_inf(a: Array) -> Array:
    """Where nothing is known the bound is inf; before a maximum, which on CPU may lose nan (see `System.norm`)."""
    return jnp.where(jnp.isnan(a), jnp.inf, a)


def _block_norms(J: Any, batch_ndim: int) -> Array:
    """The largest Frobenius norm of a block, (time, *batch)."""
    m = J.m if isinstance(J, Block) else J.d[..., None, None]
    norms = _finite_or_inf(jnp.sqrt((m * m).sum((-2, -1))))
    return norms.max(tuple(range(1 + batch_ndim, norms.ndim)))
