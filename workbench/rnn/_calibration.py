"""Times the ways that `Auto` chooses from, on this machine; the clock is the hardware room's."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from workbench import hardware
from workbench.rnn._auto import warm_start
from workbench.rnn._cells import ParaGRU, ParaLSTM
from workbench.rnn._dense_cells import GRU
from workbench.rnn._facts import (
    KIND,
    POINTS,
    WARM_CHUNKS,
    WARM_POINTS,
    Facts,
    Point,
    facts,
    forget,
    name,
    names,
    on_accelerator,
    warm_way,
    ways,
)
from workbench.rnn._scan import AbstractScan, Associative, Serial, TwoLevel
from workbench.rnn._solve import solve
from workbench.rnn._solver import AbstractSolver, Newton, Sequential

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
    todo = [(family, point) for family, points in POINTS.items() for point in points]
    todo += [("diagonal", point) for point in WARM_POINTS if point not in POINTS["diagonal"]]
    for i, (family, point) in enumerate(todo):
        progress(i, len(todo))
        calls = {}
        if point in POINTS[family]:
            calls = {way: _call(family, way, point) for way in ways(family, accelerator)}
        if family == "diagonal" and point in WARM_POINTS:
            for way in ("scan", *map(warm_way, WARM_CHUNKS)):
                calls[way] = _call(family, way, point)
        taken = hardware.interleaved_seconds(calls, repeats=REPEATS, fill_s=FILL_S, statistic=min)
        seconds |= {name(family, way, point): s for way, s in taken.items()}
    progress(len(todo), len(todo))
    return {key: seconds[key] for key in names(accelerator)}


def _call(family: str, way: str, point: Point) -> Callable[[], Any]:
    cell, params, x, h0 = _problem(family, *point)
    solver, scan = _method(way.removesuffix("-gradient"))

    def states(params: Any, x: Any) -> jax.Array:
        return solve(cell, params, x, h0, solver=solver, scan=scan).states

    call = jax.grad(lambda params, x: (states(params, x) ** 2).mean(), argnums=(0, 1))
    call = jax.jit(call if way.endswith("-gradient") else states)
    return lambda: call(params, x)


def _method(way: str) -> tuple[AbstractSolver, AbstractScan]:
    known: dict[str, tuple[AbstractSolver, AbstractScan]] = {
        "scan": (Sequential(), Serial()),
        "bptt": (Sequential("bptt"), Serial()),
        "serial": (Sequential(), Serial()),
        "two-level": (Sequential(), TwoLevel()),
        "newton-two-level": (Newton(), TwoLevel()),
        "newton-associative": (Newton(), Associative()),
    }
    warm = {warm_way(chunks): (warm_start(chunks), TwoLevel()) for chunks in WARM_CHUNKS}
    return (known | warm)[way]


def _problem(family: str, steps: int, lanes: int) -> tuple[Any, Any, jax.Array, jax.Array | None]:
    keys = jax.random.split(jax.random.key(0), 3)
    if family == "function":
        x = jax.random.normal(keys[1], (steps, lanes), jnp.float32)
        a = jax.random.uniform(keys[0], (lanes,), jnp.float32)
        return _elementwise, a, x, jnp.zeros(lanes, jnp.float32)
    channels = min(lanes, CHANNELS)
    cell = {"diagonal": ParaGRU, "block": ParaLSTM, "dense": GRU}[family](channels, channels)
    x = jax.random.normal(keys[1], (lanes // channels, steps, channels), jnp.float32)
    return cell, cell.init(keys[0], jnp.float32), x, None


def _elementwise(h: jax.Array, x: jax.Array, a: jax.Array) -> jax.Array:
    return jnp.tanh(a * h + x)
