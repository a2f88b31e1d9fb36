"""The training loss and what a model is judged by: cross entropy, accuracy, bits a byte."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from workbench.lm._forward import forward
from workbench.lm._mixer import SolveStats
from workbench.lm._model import Model


class Batch(NamedTuple):
    """Tokens in, labels out, and which positions count: each (batch, time)."""

    tokens: Int[Array | np.ndarray, "batch time"]
    labels: Int[Array | np.ndarray, "batch time"]
    mask: Bool[Array | np.ndarray, "batch time"]


class LogitSource(Protocol):
    """What can be asked for the next token as a model can, and is none: the exact oracle of a synthetic language.

    A pytree, as a model is (an equinox module).
    """

    def logits(self, tokens: Int[Array | np.ndarray, "batch time"]) -> Float[Array, "batch time vocab"]:
        """Logits of the token that follows each position."""
        ...


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
    terms = _cross_entropy(output.logits, batch.labels) + z_loss * log_z**2
    return _masked_mean(terms, batch.mask), output.stats


def evaluate(source: Model | LogitSource, batches: Batch | Iterable[Batch]) -> Scores:
    """Loss and accuracy over all positions that count of the batches. Raises ValueError if no position counts.

    Of an oracle the loss is the entropy of these very tokens, the least that any model can reach on average.
    """
    return _means(partial(_sums, source), batches)


def divergence(true: Model | LogitSource, other: Model | LogitSource, batches: Batch | Iterable[Batch]) -> float:
    """KL(true || other), mean over the positions that count, in nats: by how much the other's loss exceeds the least.

    sum over tokens v of p(v) (log p(v) - log q(v)), p of `true` and q of `other`, with no sampling noise of the label.
    Raises ValueError if no position counts.
    """
    return float(_means(partial(_divergence, true, other), batches).loss)


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


def logits(
    source: Model | LogitSource, tokens: Int[Array | np.ndarray, "batch time"]
) -> Float[Array, "more time vocab"]:
    """What a model, or an oracle, says comes next at each position."""
    said = forward(source, tokens).logits if isinstance(source, Model) else source.logits(tokens)
    if said is None:
        raise ValueError("source: a model without a read-out, must have one")
    return said


def logprobs(
    sources: Sequence[Model | LogitSource], tokens: Int[Array | np.ndarray, "batch time"]
) -> Float[Array, "sources batch time vocab"]:
    """log p(next token) by each source at each position, in the widest of their dtypes."""
    told = [jax.nn.log_softmax(logits(source, tokens), axis=-1) for source in sources]
    widest = np.result_type(*(each.dtype for each in told))
    return jnp.stack([each.astype(widest) for each in told])


@jax.jit
def _sums(source: Model | LogitSource, batch: Batch) -> Array:
    """[sum of cross entropy, number of right answers]."""
    said = logits(source, batch.tokens)
    right = (said.argmax(-1).astype(batch.labels.dtype) == batch.labels) & batch.mask
    entropy = jnp.where(batch.mask, _cross_entropy(said, batch.labels), 0)
    return jnp.stack([entropy.sum(), right.sum().astype(entropy.dtype)])


@jax.jit
def _divergence(true: Model | LogitSource, other: Model | LogitSource, batch: Batch) -> Array:
    """[sum of divergences, number of positions at which both have the same favourite]."""
    p, q = logprobs((true, other), batch.tokens)
    apart = (jnp.exp(p) * (p - q)).sum(-1)
    same = (p.argmax(-1) == q.argmax(-1)) & batch.mask
    return jnp.stack([jnp.where(batch.mask, apart, 0).sum(), same.sum().astype(apart.dtype)])


@jax.jit
def _sums_of_each(trained: Model, fixed: Model, batch: Batch) -> Array:
    return jax.vmap(lambda each: _sums(eqx.combine(each, fixed), batch))(trained)


def _cross_entropy(logits: Array, labels: Array | np.ndarray) -> Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def _masked_mean(terms: Array, mask: Array | np.ndarray) -> Array:
    count = jnp.maximum(mask.sum(), 1).astype(terms.dtype)  # a batch without labels is a loss of 0, not of nan
    return jnp.where(mask, terms, 0).sum() / count
