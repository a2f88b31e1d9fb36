"""The loop every solver runs in: it runs until the worst sequence is done and freezes those that are."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from workbench.rnn._scan import AbstractScan
from workbench.rnn._solver import AbstractSolver, Code, Iterate, Record
from workbench.rnn._system import System

_RUNNING = -1


class _Loop(NamedTuple):
    k: Array
    now: Iterate
    code: Array
    growth: Array
    iterations: Array
    history: Array


def iterate(
    system: System, solver: AbstractSolver, scan: AbstractScan, steps: int, guess: Array, tolerance: tuple
) -> tuple[Array, Record]:
    """Run `solver` from `guess` for at most `steps` iterations: states (time, *batch, *state) and the record."""
    fixed = solver.fixed_steps is not None
    loop = _start(system, solver, scan, steps, guess, tolerance)

    def unfinished(loop: _Loop) -> Array:
        return loop.k < steps if fixed else (loop.k < steps) & (loop.code == _RUNNING).any()

    def body(loop: _Loop) -> _Loop:
        active = jnp.ones_like(loop.code, bool) if fixed else loop.code == _RUNNING
        new = solver.step(system, loop.now, scan)
        if system.batch_ndim and not fixed:
            new = _freeze(active, loop.now, new)
        growth = jnp.where(new.residual > loop.now.residual, loop.growth + 1, 0)
        code = jnp.where(active, _judge(system, solver, new, growth, tolerance), loop.code)
        history = loop.history.at[loop.k + 1].set(jnp.where(active, new.residual, jnp.nan))
        return _Loop(loop.k + 1, new, code, growth, loop.iterations + active.astype(jnp.int32), history)

    if not solver.direct:
        loop = lax.while_loop(unfinished, body, loop)
    code = loop.code
    if fixed:  # growth on the way is no verdict on where K steps end
        code = _judge(system, solver, loop.now, jnp.zeros_like(loop.growth), tolerance)
    states = solver.finish(system, loop.now)
    if states is not loop.now.states:  # fewer unknowns than states: what lies between has not been looked at yet
        code = jnp.where(jnp.isfinite(system.norm(states)), code, int(Code.NONFINITE))
    code = jnp.where(code == _RUNNING, Code.MAX_STEPS, code).astype(jnp.int8)
    return states, Record(code, loop.iterations, loop.now.residual, jnp.moveaxis(loop.history, 0, -1))


def _start(
    system: System, solver: AbstractSolver, scan: AbstractScan, steps: int, guess: Array, tolerance: tuple
) -> _Loop:
    now = solver.init(system, guess, scan)
    zero = jnp.zeros(now.residual.shape, jnp.int32)
    history = jnp.full((steps + 1, *now.residual.shape), jnp.nan, now.residual.dtype).at[0].set(now.residual)
    return _Loop(jnp.int32(0), now, _judge(system, solver, now, zero, tolerance), zero, zero, history)


def _judge(system: System, solver: AbstractSolver, now: Iterate, growth: Array, tolerance: tuple) -> Array:
    """The status code of each sequence, or running."""
    atol, rtol = tolerance
    scale = system.norm(now.states)
    converged, diverged = solver.terminate(now, growth, atol + rtol * scale)
    code = jnp.where(diverged, int(Code.DIVERGED), _RUNNING)
    code = jnp.where(converged, int(Code.CONVERGED), code)
    return jnp.where(jnp.isfinite(scale) & jnp.isfinite(now.residual), code, int(Code.NONFINITE)).astype(jnp.int32)


def _freeze(active: Array, old: Iterate, new: Iterate) -> Iterate:
    def select(mask: Array, a: Array, b: Array) -> Array:
        return jnp.where(mask.reshape(mask.shape + (1,) * (a.ndim - mask.ndim)), b, a)

    states, carry = jax.tree.map(
        lambda a, b: select(active[None], a, b), (old.states, old.carry), (new.states, new.carry)
    )
    return Iterate(states, select(active, old.residual, new.residual), carry)
