"""What the theory says of streams: how far apart their predictions are, and what averaging them is worth."""

import dataclasses
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from workbench import display, lm


@dataclasses.dataclass(frozen=True, repr=False)
class Residuals:
    """Losses in nats a token, and how far the streams' predictions are apart.

    `single` (streams,): the loss of each stream alone. `averaged`: that of the mean of their probabilities. `merged`:
    that of the model (of models apart, the same as averaged). `disagreement`: E[(D_i - D_j)^2] over pairs of streams,
    D_i the relative residual of stream i.
    """

    single: Float[np.ndarray, " streams"]
    averaged: float
    merged: float
    disagreement: float

    @property
    def predicted_gain(self) -> float:
        """What averaging is worth by the theory, in nats: disagreement / 4 * (P - 1) / P."""
        streams = len(self.single)
        return self.disagreement / 4 * (streams - 1) / streams

    @property
    def observed_gain(self) -> float:
        """What averaging was worth: mean loss of the streams alone, less that of their averaged probabilities."""
        return float(self.single.mean()) - self.averaged

    def correlation(self, entropy: float) -> float:
        """rho, the correlation of two streams' residuals, at an entropy E (nats): 1 - disagreement / (4 (L - E)).

        Raises ValueError for an entropy that is not below the loss.
        """
        excess = float(self.single.mean()) - entropy
        if not excess > 0:
            raise ValueError(f"entropy: {entropy}, must be below the loss of a stream, {self.single.mean():.4f}")
        return 1 - self.disagreement / (4 * excess)

    def __repr__(self) -> str:
        alone, gains = self.single.mean(), (self.observed_gain, self.predicted_gain)
        return (
            f"Residuals(streams alone: {alone:.4f}, averaged: {self.averaged:.4f}, merged: {self.merged:.4f}, "
            f"gain observed {display.number(gains[0])}, predicted {display.number(gains[1])})"
        )


def residuals(
    model: lm.Model | Sequence[lm.Model | lm.LogitSource], batches: lm.Batch | Iterable[lm.Batch]
) -> Residuals:
    """Compare the streams of a model on batches with the theory of independent residuals.

    Several models, trained apart, are an ensemble: the bound that streams of one model could reach at P times its
    memory.

    If stream i predicts p (1 + D_i) for what has probability p, with E[D] = 0, variance s^2 and correlation rho, its
    loss is E + s^2 / 2 to second order, and that of the mean of P predictions E + s^2 / 2 * (1 + (P - 1) rho) / P. The
    gain, s^2 / 2 * (1 - rho) (P - 1) / P, follows from s^2 (1 - rho) = E[(D_i - D_j)^2] / 2, which is measured here,
    with D_i - D_j = (p_i - p_j) / mean p, weighted by mean p over the vocabulary. ParScale (arXiv 2505.10475), section
    3.1. Raises ValueError for a model with fewer than two streams, or fewer than two models.
    """
    apart = _apart(model) if isinstance(model, lm.Model) else tuple(model)
    if isinstance(apart, tuple) and len(apart) < 2:
        raise ValueError(f"model: {len(apart)} models, must be a model with streams, or two models or more")
    merged = model if isinstance(model, lm.Model) else None
    total, count = 0.0, 0
    for batch in [batches] if isinstance(batches, lm.Batch) else batches:
        total = total + np.asarray(_sums(apart, merged, batch), np.float64)
        count += int(np.sum(batch.mask))
    if count == 0:
        raise ValueError("batches: no position counts, there is nothing to compare")
    means = np.asarray(total) / count
    return Residuals(means[3:], float(means[0]), float(means[1]), float(means[2]))


class _Each(lm.AbstractStreams):
    """The same streams, not merged: they leave as more sequences."""

    prefix: tuple[Array, Array]

    def merge(self, hidden: Float[Array, "streams batch time dim"]) -> Float[Array, "more time dim"]:
        return hidden.reshape(-1, *hidden.shape[2:])


def _apart(model: lm.Model) -> lm.Model:
    """The model with its streams not merged."""
    if model.streams is None or model.streams.count < 2:
        raise ValueError("model: one stream, must have two or more: parscale.wrap")
    return model.replace(streams=_Each(model.streams.prefix))


def _told(apart: lm.Model | tuple[lm.Model | lm.LogitSource, ...], tokens: Array | np.ndarray) -> Array:
    """log p of the next token by each, (streams, batch, time, vocab)."""
    if isinstance(apart, tuple):
        return lm.logprobs(apart, tokens)
    logits = lm.logits(apart, tokens)
    return jax.nn.log_softmax(logits.reshape(-1, len(tokens), *logits.shape[1:]), axis=-1)


@jax.jit
def _sums(apart: lm.Model | tuple[lm.Model | lm.LogitSource, ...], model: lm.Model | None, batch: lm.Batch) -> Array:
    """Sums over the positions that count: loss averaged, loss merged, squared disagreement, loss of each stream."""
    mask = jnp.asarray(batch.mask)
    summed = lambda a: jnp.where(mask, a, 0).sum((-2, -1))
    at_label = lambda told: jnp.take_along_axis(told, jnp.asarray(batch.labels)[..., None], axis=-1)[..., 0]
    told = _told(apart, batch.tokens)
    p, streams = jnp.exp(told), len(told)
    mean = p.mean(0)
    # The mean over pairs of (p_i - p_j)^2 is 2 P / (P - 1) times the mean of (p_i - mean)^2.
    spread = ((p - mean[None]) ** 2).mean(0) * (2 * streams / (streams - 1)) / jnp.maximum(mean, 1e-30)
    averaged = -jnp.log(at_label(mean))
    merged = averaged if model is None else -at_label(jax.nn.log_softmax(lm.logits(model, batch.tokens), axis=-1))
    single = jax.vmap(lambda one: summed(-at_label(one)))(told)
    rest = (averaged, merged, spread.sum(-1))
    return jnp.concatenate([jnp.stack([summed(a) for a in rest]), single])
