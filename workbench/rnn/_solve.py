"""The driver: one call for any cell, solver and scan, and the implicit derivative of its result."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Bool, Int

from workbench.errors import NotConverged
from workbench.rnn._auto import Auto, settle
from workbench.rnn._cell import AbstractCell
from workbench.rnn._door import check_options, guess_array, masked, prepare, tolerances
from workbench.rnn._function import Function
from workbench.rnn._iterate import iterate
from workbench.rnn._masked import hold
from workbench.rnn._matrix_free import linear_recurrence, wants_no_matrix
from workbench.rnn._result import Stats, Status, Trajectory
from workbench.rnn._scan import AbstractScan, Serial, affine_scan
from workbench.rnn._solver import AbstractSolver, Record
from workbench.rnn._system import System, bind

MAX_STEPS = 50
"""Default bound on the iterations. Newton needs T at most in exact arithmetic, and 3 to 7 where it is worth using."""


def solve(
    cell: AbstractCell | Function | Callable,
    params: Any,
    x: Any,
    h0: Any = None,
    *,
    solver: AbstractSolver | None = None,
    scan: AbstractScan | None = None,
    guess: Literal["input", "zeros"] | Array | Callable = "input",
    max_steps: int | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    resets: Bool[Array, "*batch time"] | None = None,
    lengths: Int[Array, "*batch"] | None = None,
    on_failure: Literal["raise", "return"] = "raise",
) -> Trajectory:
    """All states of the recurrence h_t = f(h_{t-1}, x_t), t = 1..T, as the solution of one system of equations.

    `cell` with x (..., time, input_dim), any leading batch axes; or a plain function f(h, x, params) with x (time, ...)
    and h0, both an array or a pytree of arrays. `solver` and `scan` are interchangeable: by default `Auto()` takes the
    fastest ones here, and the result's `.solver` says why; beside another solver, `scan` is `TwoLevel()`. `guess`,
    where the iteration starts: "input" (f(0, x_t), the paper's), "zeros", an array shaped like the states, or a
    callable (params, x, h0) -> such an array.

    Stops, a sequence each, when max|f(h_{t-1}, x_t) - h_t| <= atol + rtol * max|h|, or after `max_steps` (default 50).
    Tolerances default to 1e-5 in float32 (84 units of rounding: reachable also where f cancels a digit or two) and
    1e-13 in float64. The solve runs in float64 if any input is float64, else in float32, also for bfloat16 weights.

    `resets` (..., time), bool: before such a step the state starts anew at the cell's initial one (zeros); nothing, no
    derivative either, crosses it. `lengths` (...,), integers: steps at or past a sequence's length hold its last state,
    so that `.final` is the state at the length; what x holds there does not matter.

    Derivatives are those of the solution, by one linear recurrence (backwards for gradients), of any order, forward and
    reverse, whatever the solver; they hold where the status is converged. Statistics have none.

    Compiles once for each (cell, solver, scan, shapes); a function that is traced to the same program compiles no more.
    Raises NotConverged on a concrete result that did not converge, unless on_failure="return" (this waits for the
    result); inside a transformation of JAX the status is returned. Raises ValueError for what cannot be right.
    Source: ParaRNN (arXiv 2510.21450), sections 2 and 3; DEER (arXiv 2309.12252).
    """
    solver = Auto() if solver is None else solver
    check_options(solver, Serial() if scan is None else scan, guess, max_steps, on_failure)
    problem = prepare(cell, params, x, h0)
    solver, scan = settle(solver, scan, problem.cell, (problem.params, problem.x, problem.h0), max_steps)
    tolerance = tolerances(atol, rtol, problem.h0.dtype)
    steps = max_steps or solver.fixed_steps or MAX_STEPS
    start = guess_array(problem, guess)
    user_cell, problem, lengths = problem.cell, *masked(problem, resets, lengths)
    data = (problem.params, problem.x, problem.h0)
    states, record = _solve(
        problem.cell, solver, scan, steps, guess if start is None else "array", data, start, tolerance
    )
    stats = Stats(record.iterations, record.residual, record.history, (problem, states))
    if lengths is not None:
        states = hold(problem.h0.ndim - len(user_cell.state_shape), states, problem.h0, lengths)
    result = Trajectory(user_cell.unpack(states), Status(record.code), stats, user_cell, solver)
    if on_failure == "raise" and not isinstance(record.code, Tracer):
        _raise_if_failed(result, tolerance, steps)
    return result


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _solve(
    cell: AbstractCell,
    solver: AbstractSolver,
    scan: AbstractScan,
    steps: int,
    guess: str,
    data: tuple,
    start: Array | None,
    tolerance: tuple,
) -> tuple[Array, Record]:
    run = _run if getattr(solver, "adjoint", "implicit") == "bptt" else _run_implicit
    states, record = run(cell, solver, scan, steps, guess, data, start, tolerance)
    return jnp.moveaxis(states, 0, data[2].ndim - len(cell.state_shape)), record


def _run(
    cell: AbstractCell,
    solver: AbstractSolver,
    scan: AbstractScan,
    steps: int,
    guess: str,
    data: tuple,
    start: Array | None,
    tolerance: tuple,
) -> tuple[Array, Record]:
    """States (time, *batch, *state) and the record; not differentiated, but for bptt."""
    system = bind(cell, *data)
    if start is not None:
        first = jnp.moveaxis(start, system.batch_ndim, 0)
    else:
        length = jax.tree.leaves(system.inputs)[0].shape[0]
        first = jnp.zeros((length, *system.initial.shape), system.initial.dtype)
        first = first if guess == "zeros" or solver.direct else cell.step(system.params, first, system.inputs)
    return solver.conclude(system, *iterate(system, solver, scan, steps, first, tolerance))


_run_implicit = jax.custom_jvp(_run, nondiff_argnums=(0, 1, 2, 3, 4))


@partial(_run_implicit.defjvp, symbolic_zeros=True)
def _run_jvp(cell, solver, scan, steps, guess, primals, tangents):
    """The implicit function theorem: delta_t = J_t delta_{t-1} + df/dparams dparams + df/dx dx (+ J_1 dh_0)."""
    states, record = _run_implicit(cell, solver, scan, steps, guess, *primals)
    leaves, treedef = jax.tree.flatten(primals[0])
    dots = jax.tree.leaves(tangents[0], is_leaf=lambda t: isinstance(t, SymbolicZero))
    # Neither integers nor what nobody differentiates by: their zeros would be stored and scanned.
    moving = tuple(
        i
        for i, (a, dot) in enumerate(zip(leaves, dots, strict=True))
        if jnp.issubdtype(a.dtype, jnp.inexact) and not isinstance(dot, SymbolicZero)
    )
    states_dot = _linearised(cell, scan, treedef, moving, leaves, [dots[i] for i in moving], states)
    return (states, record), (states_dot, jax.tree.map(_no_tangent, record))


@partial(jax.checkpoint, static_argnums=(0, 1, 2, 3))
def _linearised(
    cell: AbstractCell,
    scan: AbstractScan,
    treedef: Any,
    moving: tuple[int, ...],
    leaves: list,
    dots: list,
    states: Array,
) -> Array:
    """Tangent of the states. Checkpointed: the backward pass keeps (params, x, h) and recomputes the rest."""

    def system(active: list) -> System:
        merged = list(leaves)
        for i, a in zip(moving, active, strict=True):
            merged[i] = a
        return bind(cell, *jax.tree.unflatten(treedef, merged))

    def f(active: list) -> Array:
        s = system(active)
        return cell.step(s.params, s.shift(states), s.inputs)

    active = [leaves[i] for i in moving]
    _, b = jax.jvp(f, (active,), (dots,))
    s = system(active)
    if wants_no_matrix(s, scan):
        return linear_recurrence(s, states, b)
    return affine_scan(cell.jacobian(s.params, s.shift(states), s.inputs), b, backend=scan)


def _no_tangent(a: Array) -> Any:
    return jnp.zeros_like(a) if jnp.issubdtype(a.dtype, jnp.inexact) else np.zeros(a.shape, jax.dtypes.float0)


def _raise_if_failed(result: Trajectory, tolerance: tuple, steps: int) -> None:
    if np.asarray(result.status.converged).all():
        return
    atol, rtol = (float(t) for t in tolerance)
    worst = float(np.max(np.asarray(result.stats.residual)))
    raise NotConverged(
        f"{result.solver}: {result.status} (at most {steps} iterations; largest residual {worst:.2g}, must be at most "
        f"atol + rtol * max|h| with atol = {atol:.2g}, rtol = {rtol:.2g}). The exception's .result holds what was "
        "computed; on_failure='return' returns it",
        result,
    )
