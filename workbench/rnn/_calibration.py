"""Times the ways that `Auto` chooses from, on this machine; the clock is the hardware room's."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from workbench import hardware
from workbench.rnn._auto import METHODS
from workbench.rnn._cells import ParaGRU, ParaLSTM
from workbench.rnn._dense_cells import GRU
from workbench.rnn._facts import KIND, POINTS, Facts, Point, facts, forget, name, on_accelerator, points, ways
from workbench.rnn._solve import solve

REPEATS, FILL_S = 5, 0.2
"""Turns of the ways at one point: at least so many, and as many as fill this."""
CHANNELS = 64
"""Lanes up to this number are channels of one sequence; more of them make a batch."""


def calibrate(*, refresh: bool = False, progress: Callable[[int, int], None] = lambda done, of: None) -> Facts:
    """Time every way that `Auto` may choose and keep the figures: one to two minutes, mostly compilation.

    float32, one setting after the other, ways in turns, the least of 5 times or more: what nothing else disturbed. What
    is kept for this machine, version and set of XLA flags is not measured again unless `refresh`.
    """
    known = facts()
    if known is not None and known.here and not refresh:
        return known
    machine = hardware.this_machine()
    seconds = measure(progress)
    hardware.keep(KIND, machine.facts(), seconds, hardware.now())
    forget()
    known = facts()
    return known if known is not None and known.here else Facts("measured here, not kept", True, seconds)


def measure(progress: Callable[[int, int], None] = lambda done, of: None) -> dict[str, float]:
    """Seconds of every figure, measured now."""
    accelerator, seconds = on_accelerator(), {}
    todo = [(family, point) for family in POINTS for point in points(family)]
    for i, (family, point) in enumerate(todo):
        progress(i, len(todo))
        calls = {way: _call(family, way, point) for way in ways(family, point, accelerator)}
        taken = hardware.interleaved_seconds(calls, repeats=REPEATS, fill_s=FILL_S, statistic=min)
        seconds |= {name(family, way, point): s for way, s in taken.items()}
    progress(len(todo), len(todo))
    return seconds


def _call(family: str, way: str, point: Point) -> Callable[[], Any]:
    cell, params, x, h0 = _problem(family, *point, forgets=not way.startswith("refused"))
    solver, scan = METHODS[way.removesuffix("-gradient")]

    def states(params: Any, x: Any) -> jax.Array:
        return solve(cell, params, x, h0, solver=solver, scan=scan).states

    call = jax.grad(lambda params, x: (states(params, x) ** 2).mean(), argnums=(0, 1))
    call = jax.jit(call if way.endswith("-gradient") else states)
    return lambda: call(params, x)


def _problem(family: str, steps: int, lanes: int, forgets: bool) -> tuple[Any, Any, jax.Array, jax.Array | None]:
    keys = jax.random.split(jax.random.key(0), 3)
    if family == "function":
        x = jax.random.normal(keys[1], (steps, lanes), jnp.float32)
        a = jax.random.uniform(keys[0], (lanes,), jnp.float32)
        if not forgets:  # two fixed points of opposite sign, and the inputs too small to leave one
            a, x = a + 10, x / 10
        return _elementwise, a, x, jnp.zeros(lanes, jnp.float32)
    channels = min(lanes, CHANNELS)
    cell = {"diagonal": ParaGRU, "block": ParaLSTM, "dense": GRU}[family](channels, channels)
    x = jax.random.normal(keys[1], (lanes // channels, steps, channels), jnp.float32)
    params = cell.init(keys[0], jnp.float32)
    if not forgets:  # the update gate stays shut
        params = params | {"b": params["b"].at[0].set(-1e3)}
    return cell, params, x, None


def _elementwise(h: jax.Array, x: jax.Array, a: jax.Array) -> jax.Array:
    return jnp.tanh(a * h + x)
