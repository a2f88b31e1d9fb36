"""The training loss and what a model is judged by: cross entropy, accuracy, bits a byte."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from workbench.lm._forward import Output, forward
from workbench.lm._mixer import SolveStats
from workbench.lm._model import Model


class Batch(NamedTuple):
    """Tokens in, labels out, and which positions count: each (batch, time)."""

    tokens: Int[Array | np.ndarray, "batch time"]
    labels: Int[Array | np.ndarray, "batch time"]
    mask: Bool[Array | np.ndarray, "batch time"]


class Scores(NamedTuple):
    """Means over the positions that count: `loss` in nats, `accuracy` in [0, 1]; of several models one each."""

    loss: Float[np.ndarray, "*models"]
    accuracy: Float[np.ndarray, "*models"]

    @property
    def bits(self) -> np.ndarray:
        """The loss in bits a position; bits a byte when tokens are bytes."""
        return self.loss / math.log(2)


def loss(model: Model, batch: Batch, z_loss: float = 0.0) -> tuple[Array, SolveStats | None]:
    """Mean over the positions that count of -log p(label) + z_loss * log(Z)^2, Z the softmax's denominator; statistics.

    The second term keeps logits from drifting (PaLM, arXiv 2204.02311, section 5; 1e-4 in ParaRNN).
    """
    output = forward(model, batch.tokens)
    assert output.logits is not None
    log_z = jax.nn.logsumexp(output.logits, axis=-1)
    terms = _cross_entropy(output, batch.labels) + z_loss * log_z**2
    return _masked_mean(terms, batch.mask), output.stats


def evaluate(model: Model, batches: Batch | Iterable[Batch]) -> Scores:
    """Loss and accuracy over all positions that count of the batches. Raises ValueError if no position counts."""
    return _means(partial(_sums, model), batches)


def evaluate_each(trained: Model, fixed: Model, batches: Batch | Iterable[Batch]) -> Scores:
    """`evaluate` of several models side by side: `trained` with a leading axis of models, `fixed` what they share."""
    return _means(partial(_sums_of_each, trained, fixed), batches)


def _means(sums_of: Callable[[Batch], Array], batches: Batch | Iterable[Batch]) -> Scores:
    batches = [batches] if isinstance(batches, Batch) else list(batches)
    sums = 0.0
    for batch in batches:
        sums = sums + np.asarray(sums_of(batch))
    count = sum(int(np.sum(batch.mask)) for batch in batches)
    if count == 0:
        raise ValueError("batches: no position counts, there is nothing to evaluate")
    means = np.asarray(sums, np.float64) / count
    return Scores(means[..., 0], means[..., 1])


@jax.jit
def _sums(model: Model, batch: Batch) -> Array:
    """[sum of cross entropy, number of right answers]."""
    output = forward(model, batch.tokens)
    assert output.logits is not None
    right = (output.logits.argmax(-1).astype(batch.labels.dtype) == batch.labels) & batch.mask
    entropy = jnp.where(batch.mask, _cross_entropy(output, batch.labels), 0)
    return jnp.stack([entropy.sum(), right.sum().astype(entropy.dtype)])


@jax.jit
def _sums_of_each(trained: Model, fixed: Model, batch: Batch) -> Array:
    return jax.vmap(lambda each: _sums(eqx.combine(each, fixed), batch))(trained)


def _cross_entropy(output: Output, labels: Array | np.ndarray) -> Array:
    assert output.logits is not None
    return optax.softmax_cross_entropy_with_integer_labels(output.logits, labels)


def _masked_mean(terms: Array, mask: Array | np.ndarray) -> Array:
    count = jnp.maximum(mask.sum(), 1).astype(terms.dtype)  # a batch without labels is a loss of 0, not of nan
    return jnp.where(mask, terms, 0).sum() / count
