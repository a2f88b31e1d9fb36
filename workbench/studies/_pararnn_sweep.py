"""Where the parallel solution ends: iterations of the solvers against predictability, by gain, length and seed.

The random network s' = g W tanh(s) + u, W ~ N(0, 1/D), goes from contraction to chaos as the gain g grows. A solve
takes all seeds of a gain, a sequence each, and compiles once for all gains. An iterate at time t depends on earlier
times only, so that one solve holds those of every shorter sequence.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from workbench import rnn

Points = dict[str, np.ndarray]
"""Runs as columns of one length: solver, g, length, seed, lyapunov, iterations, converged."""

SOLVERS: dict[str, rnn.AbstractSolver] = {
    "newton": rnn.Newton(patience=None),
    "quasi-newton": rnn.QuasiNewton(patience=None),
    "jacobi": rnn.Jacobi(patience=None),
}


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Sizes of the sweep; `tolerance` is on max|r|, `inputs` the standard deviation of u."""

    dim: int = 32
    lengths: tuple[int, ...] = (75, 150, 300)
    gains: tuple[float, ...] = (0.5, 0.9, 1.1, 1.3, 1.6, 2.0)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    max_steps: Mapping[str, int] = dataclasses.field(
        default_factory=lambda: {"newton": 200, "quasi-newton": 150, "jacobi": 150}
    )
    tolerance: float = 1e-10
    inputs: float = 0.1


QUICK = Sweep()
FULL = Sweep(
    dim=100,
    lengths=(125, 250, 500, 1000),
    gains=(0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.7, 2.0),
    max_steps={"newton": 700, "quasi-newton": 300, "jacobi": 300},
)


@dataclasses.dataclass(frozen=True)
class RandomNetwork(rnn.AbstractCell):
    """s' = W tanh(s) + u: params["W"] is (*batch, D, D), a network a sequence, with the gain in it; u is the input.

    df/ds = W diag(1 - tanh(s)^2), dense. The discrete-time network of Sompolinsky, Crisanti and Sommers (1988).
    """

    dim: int

    @property
    def state_shape(self) -> tuple[int, ...]:
        return (self.dim,)

    def check(self, params: Any, x: Any) -> tuple[tuple[int, ...], int]:
        expected = (*x.shape[:-2], self.dim, self.dim)
        if x.shape[-1] != self.dim or params["W"].shape != expected:
            raise ValueError(f"params['W']: shape {params['W'].shape}, must be {expected} for x of shape {x.shape}")
        return x.shape[:-2], x.shape[-2]

    def project(self, params: Any, x: Array) -> Array:
        return x

    def step(self, params: Any, h: Array, u: Array) -> Array:
        return jnp.einsum("...bij,...bj->...bi", self._over_time(params, h), jnp.tanh(h), precision="highest") + u

    def step_and_jacobian(self, params: Any, h: Array, u: Array) -> tuple[Array, rnn.Block]:
        slope = 1 - jnp.tanh(h) ** 2
        J = self._over_time(params, h) * slope[..., None, :]
        return self.step(params, h, u), rnn.Block(J[..., None, :, :])

    def block_diagonal(self, params: Any, h: Array, u: Array, k: int = 1) -> tuple[Array, rnn.AbstractJacobian]:
        if k != 1:
            return super().block_diagonal(params, h, u, k)
        w = jnp.diagonal(self._over_time(params, h), axis1=-2, axis2=-1)
        return self.step(params, h, u), rnn.Diagonal(w * (1 - jnp.tanh(h) ** 2))

    def _over_time(self, params: Any, h: Array) -> Array:
        """W with a leading axis of length 1 if the states have one, of time."""
        W = params["W"]
        return W.reshape((1,) * (h.ndim + 1 - W.ndim) + W.shape)


def networks(sweep: Sweep) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(W of gain 1, inputs, guess, h_0), a network a seed, all Gaussian; float64."""
    W, x, guess, h0 = [], [], [], []
    for seed in sweep.seeds:
        rng = np.random.default_rng(seed)
        W.append(rng.standard_normal((sweep.dim, sweep.dim)) / math.sqrt(sweep.dim))
        h0.append(rng.standard_normal(sweep.dim))
        x.append(sweep.inputs * rng.standard_normal((max(sweep.lengths), sweep.dim)))
        guess.append(rng.standard_normal((max(sweep.lengths), sweep.dim)))
    return np.stack(W), np.stack(x), np.stack(guess), np.stack(h0)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def iterations_by_length(
    cell: rnn.AbstractCell, solver: rnn.AbstractSolver, lengths: tuple[int, ...], max_steps: int, data: tuple
) -> Float[Array, "lengths *batch"]:
    """The first iteration at which the residual of the first T steps is within the tolerance, for each T; else inf.

    `data` is (params, x, h_0, guess, tolerance). Stops when all are, or after `max_steps`. The solver is stepped by
    hand, because the residual is wanted at every time; its carry must begin with the residuals (as `Newton`'s does).
    """
    params, x, h0, guess, tolerance = data
    system = rnn.System(cell, params, cell.project(params, cell.time_first(x)), h0)

    def met(iterate: rnn.Iterate) -> Array:
        return jnp.stack([system.norm(iterate.carry[0][:length]) <= tolerance for length in lengths])

    def body(loop: tuple) -> tuple:
        k, iterate, first = loop
        iterate = solver.step(system, iterate, rnn.Serial())
        return k + 1, iterate, jnp.where(met(iterate) & jnp.isinf(first), k + 1.0, first)

    start = solver.init(system, jnp.moveaxis(guess, -2, 0), rnn.Serial())
    first = jnp.where(met(start), 0.0, jnp.inf)
    unfinished = lambda loop: (loop[0] < max_steps) & jnp.isinf(loop[2]).any()
    return jax.lax.while_loop(unfinished, body, (0, start, first))[2]


def run_sweep(sweep: Sweep, solvers: Mapping[str, rnn.AbstractSolver] | None = None, done: Any = None) -> Points:
    """Iterations and Lyapunov exponents by solver, gain, length and seed; `done(solver, g)` hears of each solve.

    `iterations` of a run that did not converge are its `max_steps`; `converged` tells the two apart.
    """
    solvers = SOLVERS if solvers is None else solvers
    W, x, guess, h0 = networks(sweep)
    cell = RandomNetwork(sweep.dim)
    rows: dict[str, list] = {name: [] for name in ("solver", "g", "length", "seed", "lyapunov", "iterations")}
    for g in sweep.gains:
        params = {"W": g * W}
        rate = np.asarray(rnn.exponents(cell, params, x, h0))[:, np.asarray(sweep.lengths) - 1]
        for name, solver in solvers.items():
            data = (params, x, h0, guess, sweep.tolerance)
            counts = np.asarray(iterations_by_length(cell, solver, sweep.lengths, sweep.max_steps[name], data))
            for i, length in enumerate(sweep.lengths):
                for j, seed in enumerate(sweep.seeds):
                    row = (name, g, length, seed, rate[j, i], counts[i, j])
                    for column, value in zip(rows.values(), row, strict=True):
                        column.append(value)
            if done is not None:
                done(name, g)
    points = {name: np.asarray(values) for name, values in rows.items()}
    cap = np.asarray([sweep.max_steps[name] for name in points["solver"]], float)
    points["converged"] = np.isfinite(points["iterations"])
    points["iterations"] = np.where(points["converged"], points["iterations"], cap)
    return points


def select(points: Points, **wanted: Any) -> Points:
    """The runs whose columns have the values wanted."""
    keep = np.logical_and.reduce([points[name] == value for name, value in wanted.items()])
    return {name: values[keep] for name, values in points.items()}


def depth_ratio(iterations: Any, length: Any) -> np.ndarray:
    """Depth of the parallel solution over that of the sequential one: iterations * 2 log2 T / T.

    An iteration is one affine scan of depth 2 log2 T, the sequential solution T steps. Above 1 nothing is won however
    many processors there are.
    """
    length = np.asarray(length, float)
    return np.asarray(iterations, float) * 2 * np.log2(length) / length


def log_points(log: Any, points: Points) -> None:
    """A row a run, the step is its place: gain, length, seed, exponent, and iterations by solver (nan: not solved)."""
    by_solver = {name: select(points, solver=name) for name in dict.fromkeys(points["solver"].tolist())}
    first = next(iter(by_solver.values()))
    columns = {f"sweep/{name}": first[column] for name, column in (("gain", "g"), ("lyapunov", "lyapunov"))}
    columns |= {f"sweep/{name}": first[name].astype(float) for name in ("length", "seed")}
    for name, mine in by_solver.items():
        columns[f"sweep/iterations/{name}"] = np.where(mine["converged"], mine["iterations"], np.nan)
    for step in range(first["g"].size):
        log.log(step=step, **{name: float(values[step]) for name, values in columns.items()})


def growth_with_length(points: Points, g: float, solver: str = "newton") -> dict[str, np.ndarray]:
    """{x: lengths, y: iterations} of one gain over all seeds: what a scaling check asks for."""
    mine = select(points, g=g, solver=solver)
    return {"x": mine["length"], "y": np.maximum(mine["iterations"], 1)}


def threshold(points: Points, solver: str = "newton") -> dict[str, np.ndarray]:
    """{x: lambda, a: depth ratio, b: 1} at the longest length, medians over the seeds by gain, in the order of lambda.

    What a crossover check asks for: where the parallel solution stops being shallower than the sequential one.
    """
    mine = select(points, solver=solver, length=points["length"].max())
    ratio = depth_ratio(mine["iterations"], mine["length"])
    ratio = np.where(mine["converged"], ratio, np.maximum(ratio, 2.0))  # a run that was stopped has not won
    gains = np.unique(mine["g"])
    middle: Callable = lambda values: np.asarray([np.median(values[mine["g"] == g]) for g in gains])
    rate, ratio = middle(mine["lyapunov"]), middle(ratio)
    order = np.argsort(rate)
    return {"x": rate[order], "a": ratio[order], "b": np.ones(len(order))}
