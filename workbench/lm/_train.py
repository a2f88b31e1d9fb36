"""Training: several optimiser steps a compiled call, several seeds side by side, exact resumption."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from workbench.checks import integer
from workbench.lm import _checkpoint
from workbench.lm._config import Config
from workbench.lm._loss import Batch, loss
from workbench.lm._mixer import SolveStats
from workbench.lm._model import Model, clip, init, partition
from workbench.lm._optimiser import AdamW
from workbench.lm._training import Training

Start = Config | Model | Callable[[int], Model]
"""What training starts from: fresh weights a seed, one model for all seeds, or a model a seed."""

Stream = Callable[[int, int], Batch]
"""(seed, step) -> the batch of that step: a pure function, so that a resumed run sees what the first saw."""

Progress = Callable[[Training], bool | None]
"""Called with the run as it stands after every call of compiled steps; True ends the training there."""


class State(NamedTuple):
    """What training carries: what it changes and the optimiser's moments, each with a leading axis of seeds."""

    trained: Model
    moments: Any


@dataclasses.dataclass(frozen=True)
class Later:
    """A stream from a later step on: a second stage sees what the first has not."""

    stream: Stream
    after: int

    def __call__(self, seed: int, step: int) -> Batch:
        return self.stream(seed, self.after + step)


@dataclasses.dataclass(frozen=True)
class Step:
    """How an optimiser step is made, as it is compiled: `parts` of a batch one by one, computed in `precision`."""

    optimiser: AdamW
    parts: int = 1
    precision: Literal["float32", "bfloat16"] | None = None


def train(
    start: Start,
    stream: Stream,
    steps: int,
    *,
    optimiser: AdamW | None = None,
    seeds: Sequence[int] = (0,),
    accumulate: int = 1,
    precision: Literal["float32", "bfloat16"] | None = None,
    steps_per_call: int = 50,
    progress: Progress | None = None,
    folder: str | Path | None = None,
    calls_per_save: int = 10,
) -> Training:
    """Train a model from each seed for `steps` optimiser steps; all seeds run side by side, `steps_per_call` a call.

    `start`: a configuration (seed s starts from `init(config, key(s))`), a model that all seeds start from, or a
    function of the seed. What a model has `frozen` stays as it is. Seed s sees `stream(s, 0), stream(s, 1), ...`. Where
    the shape of batches changes (a curriculum) a call ends early; stages of a multiple of `steps_per_call` compile once
    each. `accumulate` adds up the gradient over that many parts of each batch, for the memory of one. `precision`
    "bfloat16" computes in it, with weights and moments as they are; None computes in that of the weights.

    With a `folder` the run is saved there every `calls_per_save` calls and at the end, in one file that is replaced as
    a whole; called again with the same arguments it goes on from there, to the same numbers bit for bit. Raises
    ValueError for a checkpoint of other arguments, seeds that repeat, or numbers below 1.
    """
    step = Step(AdamW() if optimiser is None else optimiser, accumulate, precision)
    seeds = tuple(int(seed) for seed in seeds)
    numbers = {"steps": steps, "steps_per_call": steps_per_call, "accumulate": accumulate}
    for name, value in (numbers | {"calls_per_save": calls_per_save}).items():
        integer(name, value)
    if precision not in (None, "float32", "bfloat16"):
        raise ValueError(f"precision: {precision!r}, must be None, 'float32' or 'bfloat16'")
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds: {seeds}, must be one or more different integers")
    begin = _begin(start)
    first = begin(seeds[0])
    trained, fixed = partition(first)
    if not jax.tree.leaves(trained):
        raise ValueError(f"start: {first}, must have something to train: all of it is frozen")

    def fresh() -> State:
        models = [trained, *(partition(begin(seed))[0] for seed in seeds[1:])]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
        return State(stacked, jax.vmap(step.optimiser.transform().init)(stacked))

    about = _about(first, isinstance(start, Config), stream, step, seeds) | numbers
    state, history, stopped = _resumed(fresh, folder, about)
    rates, calls = step.optimiser.rates(steps), 0
    compiled = dataclasses.replace(step, optimiser=step.optimiser.without_rate())
    run = Training(seeds, state.trained, fixed, history)
    while run.steps < steps and not stopped:
        batches = _batches(stream, seeds, run.steps, min(steps_per_call, steps - run.steps))
        now = rates[run.steps : run.steps + batches.tokens.shape[1]]
        state, metrics = _advance(compiled, state, fixed, jnp.asarray(now), batches)
        run, calls = Training(seeds, state.trained, fixed, _append(run.history, metrics)), calls + 1
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


@partial(jax.jit, static_argnums=0)
def _advance(
    how: Step, state: State, fixed: Model, rates: Float[Array, " steps"], batches: Batch
) -> tuple[State, dict[str, Array]]:
    """One optimiser step a batch, for all seeds at once: the new state, and metrics (seeds, steps)."""
    transform = how.optimiser.transform()

    def step(state: State, data: tuple[Array, Batch]) -> tuple[State, dict[str, Array]]:
        rate, batch = data
        trained: Any = state.trained
        value, stats, gradient = _gradient(how, trained, fixed, batch)
        with jax.numpy_dtype_promotion("standard"):  # optax raises a float to the power of an integer count
            updates, moments = transform.update(gradient, state.moments, trained)
        trained = jax.tree.map(lambda p, u: p - rate.astype(p.dtype) * u, trained, updates)
        trained, _ = partition(clip(eqx.combine(trained, fixed)))
        metrics = {"loss": value, "gradient_norm": optax.tree.norm(gradient)}
        if stats is not None:
            metrics |= {"iterations": stats.iterations.max(), "residual": stats.residual.max()}
            metrics |= {"converged": stats.converged.mean(dtype=value.dtype)}
        return State(trained, moments), metrics

    one = lambda state, batches: jax.lax.scan(step, state, (rates, batches))
    return jax.vmap(one)(state, batches)


def _gradient(how: Step, trained: Model, fixed: Model, batch: Batch) -> tuple[Array, SolveStats | None, Any]:
    """(loss, statistics, gradient) of a batch, part by part: means over all its positions, however they divide."""

    def objective(trained: Model, part: Batch, weight: Array) -> tuple[Array, tuple[Array, SolveStats | None]]:
        value, stats = loss(_cast(eqx.combine(trained, fixed), how.precision), part, how.optimiser.z_loss)
        value = value.astype(weight.dtype) * weight
        return value, (value, stats)

    slope = jax.grad(objective, has_aux=True)
    one = jnp.ones((), jax.tree.leaves(trained)[0].dtype)
    if how.parts == 1:
        gradient, (value, stats) = slope(trained, batch, one)
        return value, stats, gradient
    if batch.tokens.shape[0] % how.parts:
        raise ValueError(f"accumulate: {how.parts}, must divide the batch of {batch.tokens.shape[0]}")
    parts = jax.tree.map(lambda a: jnp.reshape(a, (how.parts, -1, *a.shape[1:])), batch)
    weights = parts.mask.sum((1, 2)).astype(one.dtype)
    weights = weights / jnp.maximum(weights.sum(), one)

    def add(total: Model, part: tuple[Batch, Array]) -> tuple[Model, tuple[Array, SolveStats | None]]:
        gradient, told = slope(trained, *part)
        return jax.tree.map(jnp.add, total, gradient), told

    gradient, (values, stats) = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, trained), (parts, weights))
    return values.sum(), stats, gradient


def _cast(model: Model, precision: str | None) -> Model:
    if precision is None:
        return model
    return jax.tree.map(lambda a: a.astype(precision) if jnp.issubdtype(a.dtype, jnp.floating) else a, model)


def _begin(start: Start) -> Callable[[int], Model]:
    """The model that a seed starts from."""
    if isinstance(start, Config):
        return lambda seed: init(start, jax.random.key(seed))
    return (lambda seed: start) if isinstance(start, Model) else start


def _resumed(
    fresh: Callable[[], State], folder: str | Path | None, about: dict[str, Any]
) -> tuple[State, dict[str, np.ndarray], bool]:
    """(state, history, stopped): fresh, or as the checkpoint in the folder has them."""
    saved = None if folder is None else _checkpoint.load(folder, jax.eval_shape(fresh), about)
    if saved is None:
        return fresh(), {}, False
    state, history, found = saved
    return jax.tree.map(jnp.asarray, state), history, found["stopped"]


def _append(history: dict[str, np.ndarray], metrics: dict[str, Array]) -> dict[str, np.ndarray]:
    new = {name: np.asarray(value) for name, value in metrics.items()}
    return {name: np.concatenate([history[name], new[name]], 1) for name in new} if history else new


def _about(first: Model, fresh: bool, stream: Stream, step: Step, seeds: tuple[int, ...]) -> dict[str, Any]:
    """What must be equal for a run to go on. A stream that is no dataclass is known by its name only."""
    known = repr(stream) if dataclasses.is_dataclass(stream) else getattr(stream, "__qualname__", type(stream).__name__)
    held = hashlib.sha256()
    for leaf in [] if fresh else jax.tree.leaves(first):
        held.update(np.asarray(leaf).tobytes())
    told = {"config": first.config, "optimiser": step.optimiser, "precision": step.precision}
    about: dict[str, Any] = {name: repr(value) for name, value in told.items()}
    return about | {"stream": known, "seeds": list(seeds), "start": "fresh" if fresh else held.hexdigest()}
