"""Document boundaries and ragged batches: an adapter around a cell, so that no solver and no scan knows of them.

At a reset the state before the step is the initial one and df/dh is 0. A step past its sequence's length is a reset
too, on the sequence's first input, so that padding of any content leaves values, residuals and gradients alone; what
it computes is thrown away when `hold` puts the last real state in its place.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Bool, DTypeLike, Float, Int

from workbench.rnn._blocks import MEMORY_LIMIT_BYTES
from workbench.rnn._cell import AbstractCell
from workbench.rnn._jacobian import AbstractJacobian


@dataclasses.dataclass(frozen=True)
class MaskedCell(AbstractCell):
    """A cell that starts anew where it is told to; its input is (x, resets or None, lengths or None).

    Made by `solve(..., resets=, lengths=)`. Its projection is (the cell's, where steps start anew).
    """

    cell: AbstractCell

    @property
    def state_shape(self) -> tuple[int, ...]:
        return self.cell.state_shape

    @property
    def memory_limit_bytes(self) -> int:
        """The cell's, where it has one."""
        return getattr(self.cell, "memory_limit_bytes", MEMORY_LIMIT_BYTES)

    def check(self, params: Any, x: Any) -> tuple[tuple[int, ...], int]:
        return self.cell.check(params, x[0])

    def time_first(self, x: Any) -> tuple[Any, Array]:
        x, resets, lengths = x
        steps = self.cell.time_first(x)
        time = jax.tree.leaves(steps)[0].shape[0]
        if lengths is None:
            return steps, jnp.moveaxis(resets, -1, 0)
        padding = jnp.arange(time).reshape(time, *[1] * lengths.ndim) >= lengths[None]
        steps = jax.tree.map(lambda a: _fill(a, padding, lengths), steps)
        return steps, padding if resets is None else padding | jnp.moveaxis(resets, -1, 0)

    def project(self, params: Any, x: tuple[Any, Array]) -> tuple[Any, Array]:
        return self.cell.project(params, x[0]), x[1]

    def step(self, params: Any, h: Array, u: tuple[Any, Array]) -> Array:
        return self.cell.step(params, self._before(h, u[1]), u[0])

    def step_and_jacobian(self, params: Any, h: Array, u: tuple[Any, Array]) -> tuple[Array, AbstractJacobian]:
        value, J = self.cell.step_and_jacobian(params, self._before(h, u[1]), u[0])
        return value, J.cut(u[1])

    def block_diagonal(self, params: Any, h: Array, u: tuple[Any, Array], k: int = 1) -> tuple[Array, AbstractJacobian]:
        value, J = self.cell.block_diagonal(params, self._before(h, u[1]), u[0], k)
        return value, J.cut(u[1])

    def connected(self, u: tuple[Any, Array]) -> Array:
        return ~u[1]

    def initial(self, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = float) -> Array:
        return self.cell.initial(batch_shape, dtype)

    def read(self, h: Array) -> Array:
        return self.cell.read(h)

    def _before(self, h: Array, anew: Array) -> Array:
        lead = h.shape[: h.ndim - len(self.state_shape)]
        return jnp.where(_trailing(anew, h), self.initial(lead, h.dtype), h)


def check_masks(
    resets: Any, lengths: Any, batch: tuple[int, ...], time: int
) -> tuple[Bool[Array, "*batch time"] | None, Int[Array, "*batch"] | None]:
    """Both as arrays, or None; ValueError for a wrong shape or dtype, or a length outside [0, time] (if concrete)."""
    if resets is not None:
        resets = _array("resets", resets, (*batch, time), jnp.bool_, "boolean, one a step: (*batch, time)")
    if lengths is not None:
        lengths = _array("lengths", lengths, batch, jnp.integer, "integer, one a sequence")
        if not isinstance(lengths, Tracer):
            low, high = np.min(lengths, initial=0), np.max(lengths, initial=0)
            if low < 0 or high > time:
                raise ValueError(f"lengths: {low if low < 0 else high}, must be from 0 to the {time} steps of x")
    return resets, lengths


@jax.jit(static_argnums=0)
def hold(axis: int, states: Float[Array, "..."], h0: Array, lengths: Int[Array, "*batch"]) -> Array:
    """The states with those at or past each sequence's length replaced by the last before (h0 where it is 0)."""
    lengths = _trailing(lengths, states)
    last = jnp.take_along_axis(states, jnp.maximum(lengths - 1, 0), axis)
    last = jnp.where(lengths == 0, jnp.expand_dims(h0, axis), last)
    time = lax.broadcasted_iota(lengths.dtype, states.shape, axis)
    return jnp.where(time >= lengths, last, states)


def _array(name: str, value: Any, shape: tuple[int, ...], kind: Any, what: str) -> Array:
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, kind) or array.shape != shape:
        raise ValueError(f"{name}: {array.dtype}{list(array.shape)}, must be {what}, here of shape {list(shape)}")
    return array


def _fill(a: Array, padding: Bool[Array, "time *batch"], lengths: Int[Array, "*batch"]) -> Array:
    """The first input in place of padding; zeros for a sequence without a step, whose first input is padding too."""
    first = jnp.where(_trailing(lengths == 0, a[0]), jnp.zeros_like(a[0]), a[0])
    return jnp.where(_trailing(padding, a), first[None], a)


def _trailing(mask: Array, like: Array) -> Array:
    """Trailing axes of length 1: a mask over leading axes, lifted to `like`."""
    return mask.reshape(*mask.shape, *[1] * (like.ndim - mask.ndim))
