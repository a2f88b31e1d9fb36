"""What can be said about a solution after the fact: how wrong it may be, and whether it was predictable at all."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from workbench.rnn._cell import AbstractCell
from workbench.rnn._scan import TwoLevel, affine_scan
from workbench.rnn._system import bind


@partial(jax.jit, static_argnums=0)
def error_bound(cell: AbstractCell, data: tuple, states: Float[Array, "..."]) -> Float[Array, "*batch"]:
    """max_t e_t with e_t = |J_t| e_{t-1} + |r_t|, e_0 = 0: how far the states may be from the solution, to first order.

    Entrywise absolute values; `states` in the user's layout (..., time, *state). A-posteriori: one linear scan.
    """
    system = bind(cell, *data)
    residuals, J = system.evaluate(jnp.moveaxis(states, system.batch_ndim, 0))
    return system.norm(affine_scan(J.abs(), jnp.abs(residuals), backend=TwoLevel()))


@partial(jax.jit, static_argnums=0)
def lyapunov(cell: AbstractCell, data: tuple) -> Float[Array, "*batch"]:
    """(1/T) log|J_T ... J_1 v|, in nats a step: power iteration along the sequential rollout, renormalised every step.

    v is a fixed Gaussian direction. Below 0 Newton needs O(log T) iterations; above 0 it does not parallelise
    (Gonzalez et al., arXiv 2508.16817). A product that vanishes gives -inf.
    """
    system = bind(cell, *data)
    axes = tuple(range(system.batch_ndim, system.initial.ndim))

    def body(carry: tuple, u: Array) -> tuple[tuple, None]:
        h, v, total = carry
        h_next, J = cell.step_and_jacobian(system.params, h, u)
        v = J.apply(v)
        norm = jnp.sqrt((v * v).sum(axes, keepdims=True))
        return (h_next, v / jnp.where(norm == 0, 1, norm), total + jnp.log(norm).reshape(total.shape)), None

    v = jax.random.normal(jax.random.key(0), system.initial.shape, system.initial.dtype)
    v = v / jnp.sqrt((v * v).sum(axes, keepdims=True))
    total = jnp.zeros(system.initial.shape[: system.batch_ndim], v.dtype)
    (_, _, total), _ = lax.scan(body, (system.initial, v, total), system.inputs)
    return total / jax.tree.leaves(system.inputs)[0].shape[0]
