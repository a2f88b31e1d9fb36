"""A recurrence as ONE system of equations in all its states: r_t(h) = f(h_{t-1}, x_t) - h_t = 0 for t = 1..T."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from workbench.rnn._cell import AbstractCell
from workbench.rnn._jacobian import AbstractJacobian, lag


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class System:
    """What a solver sees: the cell with its data bound, time on the leading axis, then the batch, then the state.

    `inputs` is the cell's projection of x, (time, *batch, ...); `initial` is h_0, (*batch, *state).
    """

    cell: AbstractCell = dataclasses.field(metadata={"static": True})
    params: Any
    inputs: Any
    initial: Array

    @property
    def batch_ndim(self) -> int:
        return self.initial.ndim - len(self.cell.state_shape)

    def shift(self, states: Float[Array, "time ..."]) -> Float[Array, "time ..."]:
        """h_{t-1} for every t: the initial state, then all states but the last."""
        # Padded, not concatenated: of a time axis over devices the compiler then sends one state to the neighbour,
        # where a concatenation has it transpose all states over all devices and back.
        return lag(states, 1).at[0].set(self.initial)

    def evaluate(self, states: Float[Array, "time ..."]) -> tuple[Array, AbstractJacobian]:
        """Residuals r_t = f(h_{t-1}, x_t) - h_t and Jacobians J_t = df/dh at (h_{t-1}, x_t), for all t at once."""
        values, J = self.cell.step_and_jacobian(self.params, self.shift(states), self.inputs)
        return values - states, J

    def residuals(self, states: Float[Array, "time ..."]) -> Float[Array, "time ..."]:
        """r_t alone, where no Jacobian is wanted."""
        return self.cell.step(self.params, self.shift(states), self.inputs) - states

    def norm(self, a: Float[Array, "time ..."]) -> Float[Array, "*batch"]:
        """max |a| over time and state: one number a sequence; infinite if any entry is not a number."""
        state_axes = tuple(range(1 + self.batch_ndim, a.ndim))
        # XLA's maximum on CPU loses nan in arrays of some thousand entries: a failure would pass for converged.
        return jnp.where(jnp.isnan(a), jnp.inf, jnp.abs(a)).max((0, *state_axes))

    def rollout(self) -> Float[Array, "time ..."]:
        """The states, one step after the other."""

        def body(h: Array, u: Any) -> tuple[Array, Array]:
            h = self.cell.step(self.params, h, u)
            return h, h

        return lax.scan(body, self.initial, self.inputs)[1]


def bind(cell: AbstractCell, params: Any, x: Any, h0: Array) -> System:
    """The system of a cell, its parameters, inputs (..., time, ...) and initial state."""
    return System(cell, params, cell.project(params, cell.time_first(x)), h0)
