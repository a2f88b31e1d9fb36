"""What the study of ParaRNN measures on one recurrence: residuals by iteration and length, gradients, structure.

Solvers are stepped by hand here, because the residual is wanted at every time. An iterate at time t depends on earlier
times only, so one long run holds every shorter one.
"""

import dataclasses
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float

from workbench import data, rnn

CELLS = ("ParaGRU", "ParaLSTM")
SCAN = rnn.TwoLevel(chunk=64)


@dataclasses.dataclass(frozen=True)
class Given(rnn.AbstractSolver):
    """Takes the guess for the solution: what the implicit gradient makes of a path that may not have converged."""

    direct: ClassVar[bool] = True

    def init(self, system: rnn.System, guess: Array, scan: rnn.AbstractScan) -> rnn.Iterate:
        residuals, _ = system.evaluate(guess)
        return rnn.Iterate(guess, system.norm(residuals), None)

    def step(self, system: rnn.System, iterate: rnn.Iterate, scan: rnn.AbstractScan) -> rnn.Iterate:
        return iterate


def cell_named(name: str, hidden_dim: int) -> rnn.GatedCell:
    """A cell by the recipe of the language models (appendix C.1): four heads, recurrent weights within 0.5."""
    return getattr(rnn, name)(hidden_dim, hidden_dim, heads=4, clip_at=0.5)


def inputs(batch: int, length: int, dim: int, seed: int) -> np.ndarray:
    """Windows of Python sources as embedded bytes: float32 (batch, length, dim)."""
    windows = data.stdlib_text(split="train", limit_bytes=2_000_000).windows(length, batch, seed=seed)
    return data.embed(windows, dim, seed=seed)


def problem(
    cell: rnn.GatedCell, x: np.ndarray, dtype: DTypeLike, seed: int, h0_scale: float
) -> tuple[Any, Array, Array]:
    """(fresh parameters, inputs, initial state uniform within ±h0_scale), all of one dtype."""
    shape = (x.shape[0], *cell.state_shape)
    h0 = np.random.default_rng(seed).uniform(-h0_scale, h0_scale, shape)
    return cell.init(jax.random.key(seed), dtype), jnp.asarray(x, dtype), jnp.asarray(h0, dtype)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def trace(
    cell: rnn.AbstractCell, solver: rnn.AbstractSolver, steps: int, keep: int, params: Any, x: Array, h0: Array
) -> tuple[Float[Array, "steps+1 time"], Float[Array, "steps+1 keep ..."]]:
    """The largest residual over batch and state by iteration and time, and the first `keep` states of each iterate.

    Starts from the paper's guess f(0, x_t).
    """
    system = rnn.System(cell, params, cell.project(params, cell.time_first(x)), h0)

    def seen(iterate: rnn.Iterate) -> tuple[Array, Array]:
        residuals = iterate.carry[0]
        return jnp.abs(residuals).max(tuple(range(1, residuals.ndim))), iterate.states[:keep]

    def step(iterate: rnn.Iterate, _: None) -> tuple[rnn.Iterate, tuple[Array, Array]]:
        iterate = solver.step(system, iterate, SCAN)
        return iterate, seen(iterate)

    nothing = jnp.zeros((x.shape[1], *h0.shape), h0.dtype)
    first = solver.init(system, cell.step(params, nothing, system.inputs), SCAN)
    _, rest = jax.lax.scan(step, first, length=steps)
    return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), seen(first), rest)


def by_length(residual: np.ndarray, lengths: tuple[int, ...]) -> dict[int, np.ndarray]:
    """The residual after every iteration for each length, which is the largest one over that prefix."""
    return {length: np.asarray(residual)[:, :length].max(axis=1) for length in lengths}


def iterations_to(history: np.ndarray, tolerance: float) -> float:
    """The first iteration whose residual is at most `tolerance`; infinite when none is."""
    reached = np.asarray(history) <= tolerance
    return float(reached.argmax()) if reached.any() else float("inf")


@partial(jax.jit, static_argnums=(0, 1))
def states_and_gradients(
    cell: rnn.AbstractCell, solver: rnn.AbstractSolver, problem: tuple, weights: Array, guess: Array
) -> tuple[Array, tuple]:
    """The states, and the gradient of sum(weights * outputs) with respect to parameters, inputs and initial state."""

    def loss(arguments: tuple) -> tuple[Array, Array]:
        result = rnn.solve(cell, *arguments, solver=solver, scan=SCAN, guess=guess, on_failure="return")
        return (weights * result.outputs).sum(), result.states

    (_, states), gradients = jax.value_and_grad(loss, has_aux=True)(problem)
    return states, gradients


def relative_error(ours: Any, reference: Any) -> float:
    """The largest over all arrays of max |ours - reference| / max |reference|."""
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(reference), strict=True)
    return max(float(np.abs(np.asarray(a) - b).max() / np.abs(b).max()) for a, b in pairs)


def outside_structure(cell: rnn.GatedCell, mix: int, seed: int) -> float:
    """Largest |dh'/dh| between two different channels, by automatic differentiation in float64.

    `mix` > 0 hands each channel the state of the channel `mix` places on, as a recurrent weight matrix would.
    """
    rng = np.random.default_rng(seed)
    params = cell.init(jax.random.key(seed), jnp.float64)
    h = jnp.asarray(rng.uniform(-1, 1, cell.state_shape))
    u = cell.project(params, jnp.asarray(rng.standard_normal(cell.input_dim)))
    jacobian = jax.jit(jax.jacfwd(lambda h: cell.step(params, jnp.roll(h, -mix, axis=0), u)))(h)
    D = cell.hidden_dim
    blocks = np.abs(np.asarray(jacobian)).reshape(D, -1, D, h.size // D)
    return float(blocks.max(axis=(1, 3))[~np.eye(D, dtype=bool)].max())
