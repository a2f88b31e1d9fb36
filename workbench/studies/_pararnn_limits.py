"""Where Newton fails and what an unconverged path costs: logistic map, Lorenz, truncated gradients, conditioning.

Each experiment is small, has its broken twin beside it, and returns plain numbers.
"""

import dataclasses
import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from workbench import rnn
from workbench.studies import _pararnn_newton as newton

LORENZ_STEP = 0.01  # time units of one Runge-Kutta step; the exponent of the flow, 0.906 a unit, is then 0.009 a step


class Ended(NamedTuple):
    """How one solve ended: whether it converged, after how many iterations (inf if it did not), the exponent."""

    converged: bool
    iterations: float
    lyapunov: float


def logistic_map(h: Array, x: Array, r: Array) -> Array:
    """h' = r h (1 - h)."""
    return r * h * (1 - h) + 0 * x


def lorenz_step(h: Array, x: Array, dt: Array) -> Array:
    """One classical Runge-Kutta step of the Lorenz system, sigma = 10, rho = 28, beta = 8/3."""

    def flow(h: Array) -> Array:
        a, b, c = h
        return jnp.stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c])

    k1 = flow(h)
    k2 = flow(h + dt / 2 * k1)
    k3 = flow(h + dt / 2 * k2)
    return h + dt / 6 * (k1 + 2 * k2 + 2 * k3 + flow(h + dt * k3)) + 0 * x


def logistic(r: float, solver: rnn.AbstractSolver, length: int = 1000, max_steps: int = 60) -> Ended:
    """The logistic map from 0.3, with the constant path 0.3 as guess. r = 2.5 contracts to 0.6; r = 4 is chaos."""
    start = jnp.full(1, 0.3, jnp.float64)
    x = jnp.zeros((length, 1), jnp.float64)
    guess = jnp.full((length, 1), 0.3, jnp.float64)
    return _ended(
        rnn.solve(logistic_map, r, x, start, solver=solver, guess=guess, max_steps=max_steps, on_failure="return")
    )


def lorenz(solver: rnn.AbstractSolver, length: int = 2000, max_steps: int = 60) -> Ended:
    """The Lorenz system on its attractor (2000 steps are run up first), with its first state as constant guess."""
    x = jnp.zeros((length, 3), jnp.float64)
    run_up = rnn.solve(lorenz_step, LORENZ_STEP, x, jnp.ones(3, jnp.float64), solver=rnn.Sequential())
    guess = jnp.broadcast_to(run_up.final[None], x.shape)
    return _ended(
        rnn.solve(
            lorenz_step, LORENZ_STEP, x, run_up.final,
            solver=solver, guess=guess, max_steps=max_steps, atol=1e-10, on_failure="return",
        )
    )  # fmt: skip


def _ended(result: rnn.Trajectory) -> Ended:
    done = bool(result.status.converged)
    return Ended(done, float(result.stats.iterations) if done else math.inf, float(result.stats.lyapunov))


@dataclasses.dataclass(frozen=True)
class Truncation:
    """Sizes of the experiment on gradients after K iterations: recurrent weights N(0, std^2)."""

    length: int = 1024
    dim: int = 16
    batch: int = 2
    std: float = 0.5
    iterations: tuple[int, ...] = (1, 2, 3, 4, 8)


def truncated_gradients(sizes: Truncation, seed: int) -> dict[int, float]:
    """{K: relative error of the gradient after K Newton iterations}, against backpropagation through time; float64.

    ParaGRU whose recurrent weights a are drawn wider than the paper's, on Gaussian inputs; the loss weighs every state.
    """
    cell = rnn.ParaGRU(sizes.dim, sizes.dim)
    rng = np.random.default_rng(seed)
    params = cell.init(jax.random.key(seed), jnp.float64)
    params["a"] = jnp.asarray(sizes.std * rng.standard_normal(params["a"].shape))
    shape = (sizes.batch, sizes.length, sizes.dim)
    x, weights = (jnp.asarray(rng.standard_normal(shape)) for _ in range(2))
    problem = (params, x, cell.initial((sizes.batch,), jnp.float64))
    _, iterates = newton.trace(cell, rnn.Newton(), max(sizes.iterations), sizes.length, *problem)
    paths = jnp.moveaxis(iterates, 1, 2)
    _, reference = newton.states_and_gradients(cell, rnn.Sequential("bptt"), problem, weights, paths[-1])
    errors = {}
    for k in sizes.iterations:
        _, gradients = newton.states_and_gradients(cell, newton.Given(), problem, weights, paths[k])
        errors[k] = newton.relative_error(gradients, reference)
    return errors


def bracket_violations(
    gains: tuple[float, ...] = (0.3, 0.9, 1.5, 3.0), dim: int = 6, length: int = 40, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """By how much sigma_min(dr/dh), from the dense matrix, lies outside of the theory's bracket; a gain each.

    max(lower/sigma - 1, sigma/upper - 1, 0) for tanh networks; and the control, which forgets the transients:
    a = b = 1, as if every product of Jacobians grew at the rate of the exponent.
    """
    rng = np.random.default_rng(seed)
    W = jnp.asarray(rng.standard_normal((dim, dim)) / math.sqrt(dim))
    x, h0 = jnp.asarray(0.1 * rng.standard_normal((length, dim))), jnp.asarray(rng.standard_normal(dim))
    ours, control = [], []
    for g in gains:
        known = rnn.conditioning(_network, g * W, x, h0)
        sigma = smallest_singular_value(_network, g * W, x, h0)
        rate = float(known.lyapunov)
        plain = (math.expm1(rate) / math.expm1(rate * length), min(math.exp(-rate * (length - 1)), 1.0))
        ours.append(_outside(sigma, float(known.lower), float(known.upper)))
        control.append(_outside(sigma, *plain))
    return np.asarray(ours), np.asarray(control)


def smallest_singular_value(f: Any, params: Any, x: Array, h0: Array) -> float:
    """sigma_min of the whole dr/dh at the solution, (T D) x (T D), formed by automatic differentiation."""
    return float(np.linalg.svd(np.asarray(_dense(f, params, x, h0)), compute_uv=False).min())


@partial(jax.jit, static_argnums=0)
def _dense(f: Any, params: Any, x: Array, h0: Array) -> Array:
    """dr/dh, r_t = h_t - f(h_{t-1}, x_t), along the rollout."""

    def body(h: Array, x: Array) -> tuple[Array, Array]:
        h = f(h, x, params)
        return h, h

    def residual(h: Array) -> Array:
        before = jnp.concatenate([h0[None], h[:-1]])
        return h - jax.vmap(lambda h, x: f(h, x, params))(before, x)

    states = jax.lax.scan(body, h0, x)[1]
    return jax.jacfwd(residual)(states).reshape(states.size, states.size)


def _network(h: Array, x: Array, W: Array) -> Array:
    return jnp.matmul(W, jnp.tanh(h), precision="highest") + x


def _outside(sigma: float, lower: float, upper: float) -> float:
    return max(lower / sigma - 1, sigma / upper - 1, 0.0)
