"""What `solve` checks and settles before anything is computed: options, dtypes, shapes, tolerances, the guess."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from workbench.rnn._cell import AbstractCell
from workbench.rnn._function import Function, FunctionCell
from workbench.rnn._masked import MaskedCell, check_masks
from workbench.rnn._scan import AbstractScan
from workbench.rnn._solver import AbstractSolver

DEFAULT_TOLERANCE = {"float32": 1e-5, "float64": 1e-13}
"""84 and 450 units of rounding: above the floor of the residual, and one Newton step from it at most."""

FLOOR_UNITS = 4
"""|h_t - f(h_{t-1}, x_t)| cannot be brought below a few units of rounding of |h|; a smaller tolerance is refused."""


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """The arguments of `solve`, settled: x in the user's layout, everything floating in one dtype."""

    cell: AbstractCell
    params: Any
    x: Any
    h0: Array


def check_options(solver: object, scan: object, guess: object, max_steps: object, on_failure: object) -> None:
    """Raise ValueError for an option that cannot be right."""
    if not isinstance(solver, AbstractSolver):
        raise ValueError(f"solver: {solver!r}, must be a solver object such as Newton()")  # noqa: TRY004
    if not isinstance(scan, AbstractScan):
        raise ValueError(f"scan: {scan!r}, must be a scan backend such as TwoLevel()")  # noqa: TRY004
    if max_steps is not None:
        if isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 1:
            raise ValueError(f"max_steps: {max_steps!r}, must be an integer of at least 1")
        if solver.fixed_steps is not None and solver.fixed_steps != max_steps:
            raise ValueError(f"max_steps: {max_steps}, but {solver} makes exactly {solver.fixed_steps} iterations")
    if on_failure not in ("raise", "return"):
        raise ValueError(f"on_failure: {on_failure!r}, must be 'raise' or 'return'")
    if isinstance(guess, str) and guess not in ("input", "zeros"):
        raise ValueError(f"guess: {guess!r}, must be 'input', 'zeros', an array of states or a callable")


def prepare(cell: AbstractCell | Function | Callable, params: Any, x: Any, h0: Any, *, probe: bool = True) -> Problem:
    """Settle dtypes and shapes, bind a plain function (and probe a declared structure); ValueError for what misfits."""
    dtype = _solve_dtype((params, x, h0))
    params, x = (jax.tree.map(lambda a: _cast(a, dtype), tree) for tree in (params, x))
    if not isinstance(cell, AbstractCell):
        function = cell if isinstance(cell, Function) else Function(cell)
        if h0 is None:
            raise ValueError("h0: None, must be the initial state when the cell is a plain function")
        if not jax.tree.leaves(h0):
            raise ValueError(f"h0: {h0!r}, must be an array or a pytree of arrays")
        given = jax.tree.map(lambda a: _state(a, dtype), h0)
        cell, params = (function.bind if probe else function.trace)(params, x, given)
        h0 = cell.pack(given)
    elif not isinstance(x, jax.Array):
        raise ValueError(f"x: {type(x).__name__}, must be one array")  # noqa: TRY004
    batch, length = cell.check(params, x)
    if length < 1:
        raise ValueError(f"x: {length} steps, must have at least 1")
    h0 = cell.initial(batch, dtype) if h0 is None else _state(h0, dtype)
    if h0.shape != (*batch, *cell.state_shape):
        raise ValueError(f"h0: shape {h0.shape}, must be {(*batch, *cell.state_shape)}, the batch of x and the state")
    return Problem(cell, params, x, h0)


def masked(problem: Problem, resets: Any, lengths: Any) -> tuple[Problem, Array | None]:
    """The problem with its cell made to start anew where told to, and the lengths; ValueError for masks that misfit."""
    if resets is None and lengths is None:
        return problem, None
    resets, lengths = check_masks(resets, lengths, *problem.cell.check(problem.params, problem.x))
    x = (problem.x, resets, lengths)
    return dataclasses.replace(problem, cell=MaskedCell(problem.cell), x=x), lengths


def tolerances(atol: float | None, rtol: float | None, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """(atol, rtol) in the dtype of the solve; ValueError for what rounding puts out of reach."""
    floor = FLOOR_UNITS * float(jnp.finfo(dtype).eps)
    default = DEFAULT_TOLERANCE[jnp.dtype(dtype).name]
    for name, value in (("atol", atol), ("rtol", rtol)):
        if value is None:
            continue
        if not (value >= 0 and math.isfinite(value)):
            raise ValueError(f"{name}: {value!r}, must be a finite number of at least 0")
        if 0 < value < floor:
            raise ValueError(
                f"{name}: {value:g}, is below what {dtype} can reach: residuals stop near {floor:.1e} * max|h|. "
                f"Use {floor:.1e} or more, 0 to rely on the other tolerance, or solve in float64"
            )
    if atol == 0 and rtol == 0:
        raise ValueError("atol: 0 with rtol = 0, one of them must be greater than 0")
    return np.asarray(default if atol is None else atol, dtype), np.asarray(default if rtol is None else rtol, dtype)


def guess_array(problem: Problem, guess: Any) -> Array | None:
    """The guess as an array shaped like the states, or None for a guess known by name."""
    if isinstance(guess, str):
        return None
    cell = problem.cell
    if callable(guess):
        params = problem.params[0] if isinstance(cell, FunctionCell) else problem.params
        guess = guess(params, problem.x, cell.unpack(problem.h0))
    batch, length = cell.check(problem.params, problem.x)
    expected = jax.eval_shape(cell.unpack, jax.ShapeDtypeStruct((*batch, length, *cell.state_shape), problem.h0.dtype))
    shapes = lambda tree: jax.tree.map(jnp.shape, tree)
    if shapes(guess) != shapes(expected):
        raise ValueError(f"guess: shape {shapes(guess)}, must be that of the states, {shapes(expected)}")
    return jax.lax.stop_gradient(cell.pack(jax.tree.map(lambda a: jnp.asarray(a, problem.h0.dtype), guess)))


def _solve_dtype(tree: Any) -> np.dtype:
    """float64 if anything is, else float32; Python numbers do not count. ValueError for complex numbers."""
    dtypes = {jnp.result_type(a) for a in jax.tree.leaves(tree) if not isinstance(a, bool | int | float | complex)}
    if any(jnp.issubdtype(d, jnp.complexfloating) for d in dtypes):
        raise ValueError("params, x, h0: complex numbers are not supported; split states into real and imaginary part")
    return jnp.dtype(jnp.float64 if jnp.dtype(jnp.float64) in dtypes else jnp.float32)


def _cast(a: Any, dtype: np.dtype) -> Array:
    """An array; floating ones in the dtype of the solve, others (token ids, keys) as they are."""
    if isinstance(a, float):
        return jnp.asarray(a, dtype)
    a = jnp.asarray(a)
    return a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a


def _state(h0: Any, dtype: np.dtype) -> Array:
    if len(jax.tree.leaves(h0)) != 1 or not hasattr(h0, "dtype"):
        raise ValueError(f"h0: {type(h0).__name__}, must be one array")
    if not jnp.issubdtype(h0.dtype, jnp.floating):
        raise ValueError(f"h0: dtype {h0.dtype}, must be real floating point")
    return jnp.asarray(h0, dtype)
