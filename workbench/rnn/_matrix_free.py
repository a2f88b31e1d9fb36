"""The linearised recurrence without its Jacobians: products J_t v one step after the other, where J is too large."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from workbench.rnn._blocks import MEMORY_LIMIT_BYTES
from workbench.rnn._jacobian import Block
from workbench.rnn._scan import AbstractScan, Serial
from workbench.rnn._system import System

SMALL_BLOCK = 4
"""Up to this size a stored block costs a serial scan no more than a push through the cell."""


def wants_no_matrix(system: System, scan: AbstractScan) -> bool:
    """Whether the Jacobians of all steps would exceed the cell's memory limit, or a serial scan has no use for them."""
    cell, time = system.cell, jax.tree.leaves(system.inputs)[0].shape[0]
    one = (0,) * (1 + system.batch_ndim)  # one step of one sequence: the structure, before anything is refused
    h = jax.ShapeDtypeStruct(cell.state_shape, system.initial.dtype)
    u = jax.eval_shape(lambda inputs: jax.tree.map(lambda a: a[one], inputs), system.inputs)
    J = jax.eval_shape(cell.jacobian, system.params, h, u)
    if not isinstance(J, Block) or J.k <= 1:
        return False
    sequences = math.prod(system.initial.shape[: system.batch_ndim])
    size = time * sequences * math.prod(J.shape) * np.dtype(J.dtype).itemsize
    serial = isinstance(scan, Serial) and J.k > SMALL_BLOCK
    return serial or size > getattr(cell, "memory_limit_bytes", MEMORY_LIMIT_BYTES)


def linear_recurrence(
    system: System, states: Float[Array, "time ..."], b: Float[Array, "time ..."]
) -> Float[Array, "time ..."]:
    """delta_t = J_t delta_{t-1} + b_t, delta_0 = 0, along `states`; linear in b, and JAX transposes it.

    T steps deep, and of T * D numbers.
    """

    def body(delta: Array, step: tuple[Array, Any, Array]) -> tuple[Array, Array]:
        h, u, b_t = step
        _, pushed = jax.jvp(lambda h: system.cell.step(system.params, h, u), (h,), (delta,))
        delta = pushed + b_t
        return delta, delta

    return lax.scan(body, jnp.zeros_like(b[0]), (system.shift(states), system.inputs, b))[1]
