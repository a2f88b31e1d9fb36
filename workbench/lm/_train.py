"""Training: several optimiser steps a compiled call, several seeds side by side, exact resumption."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from workbench.lm import _checkpoint
from workbench.lm._config import Config
from workbench.lm._loss import Batch, loss
from workbench.lm._mixer import natural
from workbench.lm._model import clip, init
from workbench.lm._optimiser import AdamW
from workbench.lm._training import Training

Stream = Callable[[int, int], Batch]
"""(seed, step) -> the batch of that step: a pure function, so that a resumed run sees what the first saw."""

Progress = Callable[[Training], bool | None]
"""Called with the run as it stands after every call of compiled steps; True ends the training there."""


class State(NamedTuple):
    """What training carries: parameters and moments, each with a leading axis of seeds."""

    params: Any
    moments: Any


def train(
    config: Config,
    stream: Stream,
    steps: int,
    *,
    optimiser: AdamW | None = None,
    seeds: Sequence[int] = (0,),
    steps_per_call: int = 50,
    progress: Progress | None = None,
    folder: str | Path | None = None,
    calls_per_save: int = 10,
) -> Training:
    """Train a model from each seed for `steps` optimiser steps; all seeds run side by side, `steps_per_call` a call.

    Seed s starts from `init(config, key(s))` and sees `stream(s, 0), stream(s, 1), ...`. Where the shape of batches
    changes (a curriculum) a call ends early; stages of a multiple of `steps_per_call` compile once each.

    With a `folder` the run is saved there every `calls_per_save` calls and at the end, in one file that is replaced as
    a whole; called again with the same arguments it goes on from there, to the same numbers bit for bit. Raises
    ValueError for a checkpoint of other arguments, seeds that repeat, or numbers below 1.
    """
    optimiser = AdamW() if optimiser is None else optimiser
    seeds = tuple(int(seed) for seed in seeds)
    for name, value in (("steps", steps), ("steps_per_call", steps_per_call), ("calls_per_save", calls_per_save)):
        natural(name, value)
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds: {seeds}, must be one or more different integers")
    about = _about(config, stream, steps, optimiser, seeds, steps_per_call)
    state, history, stopped = _start(config, optimiser, seeds, folder, about)
    rates, calls = optimiser.rates(steps), 0
    run = Training(config, seeds, state.params, history)
    while run.steps < steps and not stopped:
        batches = _batches(stream, seeds, run.steps, min(steps_per_call, steps - run.steps))
        now = rates[run.steps : run.steps + batches.tokens.shape[1]]
        state, metrics = _advance(config, optimiser.without_rate(), state, jnp.asarray(now), batches)
        run, calls = Training(config, seeds, state.params, _append(run.history, metrics)), calls + 1
        stopped = progress is not None and bool(progress(run))
        if folder is not None and (calls % calls_per_save == 0 or stopped or run.steps == steps):
            _checkpoint.save(folder, state, run.history, about | {"stopped": stopped})
    return run


def _batches(stream: Stream, seeds: tuple[int, ...], step: int, count: int) -> Batch:
    """The batches of the next steps, (seeds, steps, batch, time) each; fewer than `count` where their shape changes."""
    taken: list[list[Batch]] = []
    for i in range(step, step + count):
        each = [stream(seed, i) for seed in seeds]
        if taken and each[0].tokens.shape != taken[0][0].tokens.shape:
            break
        taken.append(each)
    by_seed = list(zip(*taken, strict=True))
    stack = lambda field: np.stack([np.stack([getattr(batch, field) for batch in run]) for run in by_seed])
    return Batch(stack("tokens").astype(np.int32), stack("labels").astype(np.int32), stack("mask").astype(bool))


@partial(jax.jit, static_argnums=(0, 1))
def _advance(
    config: Config, optimiser: AdamW, state: State, rates: Float[Array, " steps"], batches: Batch
) -> tuple[State, dict[str, Array]]:
    """One optimiser step a batch, for all seeds at once: the new state, and metrics (seeds, steps)."""
    transform = optimiser.transform()

    def step(state: State, data: tuple[Array, Batch]) -> tuple[State, dict[str, Array]]:
        rate, batch = data
        value_and_gradient = jax.value_and_grad(partial(loss, config), has_aux=True)
        (value, stats), gradient = value_and_gradient(state.params, batch, optimiser.z_loss)
        with jax.numpy_dtype_promotion("standard"):  # optax raises a float to the power of an integer count
            updates, moments = transform.update(gradient, state.moments, state.params)
        params = jax.tree.map(lambda p, u: p - rate.astype(p.dtype) * u, state.params, updates)
        metrics = {"loss": value, "gradient_norm": optax.tree.norm(gradient)}
        if stats is not None:
            metrics |= {"iterations": stats.iterations.max(), "residual": stats.residual.max()}
            metrics |= {"converged": stats.converged.mean(dtype=value.dtype)}
        return State(clip(config, params), moments), metrics

    one = lambda state, batches: jax.lax.scan(step, state, (rates, batches))
    return jax.vmap(one)(state, batches)


def _start(
    config: Config, optimiser: AdamW, seeds: tuple[int, ...], folder: str | Path | None, about: dict[str, Any]
) -> tuple[State, dict[str, np.ndarray], bool]:
    """(state, history, stopped): fresh, or as the checkpoint in the folder has them."""

    def fresh() -> State:
        params = [init(config, jax.random.key(seed)) for seed in seeds]
        params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
        return State(params, jax.vmap(optimiser.transform().init)(params))

    saved = None if folder is None else _checkpoint.load(folder, jax.eval_shape(fresh), about)
    if saved is None:
        return fresh(), {}, False
    state, history, found = saved
    return jax.tree.map(jnp.asarray, state), history, found["stopped"]


def _append(history: dict[str, np.ndarray], metrics: dict[str, Array]) -> dict[str, np.ndarray]:
    new = {name: np.asarray(value) for name, value in metrics.items()}
    return {name: np.concatenate([history[name], new[name]], 1) for name in new} if history else new


def _about(config: Config, stream: Stream, steps: int, optimiser: AdamW, seeds: tuple, steps_per_call: int) -> dict:
    """What must be equal for a run to go on. A stream that is no dataclass is known by its name only."""
    known = repr(stream) if dataclasses.is_dataclass(stream) else getattr(stream, "__qualname__", type(stream).__name__)
    given = {"config": config, "optimiser": optimiser}
    numbers = {"seeds": list(seeds), "steps": steps, "steps_per_call": steps_per_call}
    return {name: repr(value) for name, value in given.items()} | {"stream": known} | numbers
