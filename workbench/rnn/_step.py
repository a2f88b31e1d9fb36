"""One step at a time: the same recurrence where the inputs come in one after the other."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from workbench.rnn._cell import AbstractCell
from workbench.rnn._door import prepare
from workbench.rnn._function import Function


def step(cell: AbstractCell | Function | Callable, params: Any, h: Any, x_t: Any) -> Any:
    """The next state h' = f(h, x_t): `solve`, one step at a time, for streaming.

    `h` (*batch, *state), None for a cell's initial state; `x_t` (*batch, input_dim) for a cell, what f takes for a
    plain function. Steps one after the other give the states of `solve`, to rounding. Compiles once for each (cell,
    shapes); differentiable. A plain function is traced at every call, for the values that it closes over: in a tight
    loop, wrap the call in `jax.jit`. Raises ValueError as `solve` does.
    """
    axis = -2 if isinstance(cell, AbstractCell) else 0
    x = jax.tree.map(lambda a: jnp.expand_dims(a, axis), x_t)  # one step of time, where the cell's layout has it
    problem = prepare(cell, params, x, h, probe=False)
    return problem.cell.unpack(_step(problem.cell, problem.params, problem.h0, problem.x))


@partial(jax.jit, static_argnums=0)
def _step(cell: AbstractCell, params: Any, h: Array, x: Any) -> Array:
    u = cell.project(params, cell.time_first(x))
    return cell.step(params, h, jax.tree.map(lambda a: a[0], u))
