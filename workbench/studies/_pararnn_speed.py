"""Seconds of one recurrence applied four ways: a loop in Python, the same without slicing, lax.scan, Newton.

This is the one part of the study that reads a clock. Compilation is kept apart, every call is waited for, and the ways
take turns, so that a busy moment of the machine hits all of them.
"""

import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from workbench import rnn

CALLS = {"loop": 3, "sliced-loop": 3, "scan": 30, "newton": 30}  # of each way in one turn; their median counts


def seconds(
    cell: rnn.GatedCell, length: int, repeats: int, iterations: int, seed: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """({way: seconds, one a turn}, {way: seconds of its first call, compilation included}), float32, one sequence."""
    ways = applications(cell, length, iterations, seed)
    first = {name: _timed(call) for name, call in ways.items()}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, call in ways.items():
            taken[name].append(statistics.median(_timed(call) for _ in range(CALLS[name])))
    return taken, first


def applications(cell: rnn.GatedCell, length: int, iterations: int, seed: int) -> dict[str, Callable[[], Array]]:
    """The ways to compute all states of one sequence of `length` steps; each returns the last state, (1, *state)."""
    params = cell.init(jax.random.key(seed), jnp.float32)
    x = jnp.asarray(np.random.default_rng(seed).standard_normal((1, length, cell.input_dim)), jnp.float32)
    slices = [x[:, t] for t in range(length)]
    step = jax.jit(lambda params, h, x_t: cell.step(params, h, cell.project(params, x_t)))
    start = cell.initial((1,), jnp.float32)

    def loop() -> Array:
        h = start
        for t in range(length):
            h = step(params, h, x[:, t])
        return h

    def sliced_loop() -> Array:
        h = start
        for x_t in slices:
            h = step(params, h, x_t)
        return h

    def compiled(solver: rnn.AbstractSolver) -> Callable[[], Array]:
        solve = jax.jit(lambda p, x: rnn.solve(cell, p, x, solver=solver, scan=rnn.TwoLevel(32)).states)
        return lambda: solve(params, x)[:, -1]

    return {
        "loop": loop,
        "sliced-loop": sliced_loop,
        "scan": compiled(rnn.Sequential()),
        "newton": compiled(rnn.Newton(steps=iterations)),
    }


def _timed(call: Callable[[], Array]) -> float:
    began = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - began
