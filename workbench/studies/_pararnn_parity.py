"""Parity of bit strings, learned by one recurrent layer: embedding, RMSNorm, cell, RMSNorm, linear read-out.

The linear twin is the same layer with its recurrent weights held at zero (then z and c no longer see the state), so
that both share seeds, data, initial weights and steps. All layers train side by side in one `vmap`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from workbench import rnn

CHUNK = 50  # optimiser steps between two looks at the accuracy
STRINGS = 128  # fresh strings that decide when to stop; as many others that the result is reported on
OPTIMISER = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(3e-3))


class Learned(NamedTuple):
    """Accuracy in % over all prefixes of fresh strings, (gains, seeds), and the steps that were trained."""

    accuracy: np.ndarray
    steps: int


def learn(
    cell: rnn.GatedCell,
    gains: tuple[float, ...],
    seeds: tuple[int, ...],
    length: int,
    batch: int,
    max_steps: int,
    report: Callable[[int, np.ndarray], None],
) -> Learned:
    """Train a layer for each gain and seed until the first gain's are right on all strings, or `max_steps`.

    Gain 1 is the cell, 0 its linear twin. Every 50 steps `report(step, accuracy)` gets the accuracy, (gains, seeds).
    """
    draws = [np.random.default_rng([seed, length]) for seed in seeds]

    def strings(count: int) -> Int[Array, "layers count length"]:
        bits = np.stack([draw.integers(0, 2, (count, length), dtype=np.int32) for draw in draws])
        return jnp.asarray(np.tile(bits, (len(gains), 1, 1)))

    gain = jnp.repeat(jnp.asarray(gains, jnp.float32), len(seeds))
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves * len(gains)), *(initial(cell, seed) for seed in seeds))
    state = (params, jax.vmap(OPTIMISER.init)(params))
    validation, test = strings(STRINGS), strings(STRINGS)

    def accuracy(bits: Array) -> np.ndarray:
        return np.asarray(evaluate(cell, state[0], gain, bits)).reshape(len(gains), len(seeds))

    step = 0
    while step < max_steps:
        bits = strings(CHUNK * batch).reshape(gain.size, CHUNK, batch, length)
        state, step = train(cell, state, gain, bits), step + CHUNK
        seen = accuracy(validation)
        report(step, seen)
        if seen[0].min() == 100.0:
            break
    return Learned(accuracy(test), step)


def initial(cell: rnn.GatedCell, seed: int) -> dict[str, Any]:
    """Fresh weights of the layer, float32."""
    draw, D = np.random.default_rng(seed), cell.hidden_dim
    embedding, readout = draw.standard_normal((2, D)), draw.standard_normal((D, 2)) / np.sqrt(D)
    return {
        "embedding": jnp.asarray(embedding, jnp.float32),
        "cell": cell.init(jax.random.key(seed), jnp.float32),
        "readout": jnp.asarray(readout, jnp.float32),
        "norm_in": jnp.ones(D, jnp.float32),
        "norm_out": jnp.ones(D, jnp.float32),
    }


def logits(cell: rnn.GatedCell, params: dict[str, Any], gain: Array, bits: Int[Array, "batch length"]) -> Array:
    """Two logits a prefix, (batch, length, 2); `gain` scales the recurrent weights: 1, or 0 for the linear twin."""
    x = _rms_norm(params["embedding"], params["norm_in"])[bits]
    weights = params["cell"] | {name: gain * params["cell"][name] for name in cell.recurrent}
    # Step by step: the fastest on a CPU. The gradient is the same reversed linear scan for every solver.
    h = rnn.solve(cell, weights, x, solver=rnn.Sequential(), scan=rnn.Serial()).outputs
    return _rms_norm(h, params["norm_out"]) @ params["readout"]


def parity(bits: Int[Array, "batch length"]) -> Int[Array, "batch length"]:
    """Whether each prefix holds an odd number of ones."""
    return jnp.cumsum(bits, axis=-1) % 2


@partial(jax.jit, static_argnums=0)
def train(cell: rnn.GatedCell, state: tuple, gains: Array, bits: Int[Array, "layers steps batch length"]) -> tuple:
    """One optimiser step a batch, for all layers at once."""

    def loss(params: dict, gain: Array, batch: Array) -> Array:
        cross_entropy = optax.softmax_cross_entropy_with_integer_labels
        return cross_entropy(logits(cell, params, gain, batch), parity(batch)).mean()

    def step(gain: Array, state: tuple, batch: Array) -> tuple[tuple, None]:
        params, moments = state
        updates, moments = OPTIMISER.update(jax.grad(loss)(params, gain, batch), moments, params)
        return (optax.apply_updates(params, updates), moments), None

    return jax.vmap(lambda s, gain, b: jax.lax.scan(partial(step, gain), s, b)[0])(state, gains, bits)


@partial(jax.jit, static_argnums=0)
def evaluate(cell: rnn.GatedCell, params: dict, gains: Array, bits: Array) -> Float[Array, " layers"]:
    """Accuracy in % over all prefixes."""

    def score(params: dict, gain: Array, bits: Array) -> Array:
        wrong = logits(cell, params, gain, bits).argmax(-1) != parity(bits)
        return 100 - 100 * wrong.mean(dtype=jnp.float32)  # none wrong is 100 exactly, whatever the count

    return jax.vmap(score)(params, gains, bits)


def _rms_norm(x: Float[Array, "*lead D"], weight: Float[Array, " D"]) -> Float[Array, "*lead D"]:
    scale = jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + jnp.asarray(1e-6, x.dtype))
    return x * scale * weight.reshape((1,) * (x.ndim - 1) + weight.shape)
