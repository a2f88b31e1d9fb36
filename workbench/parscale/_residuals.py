"""What the theory says of streams: how far apart their predictions are, and what averaging them is worth."""

import dataclasses
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from workbench import display, lm


@dataclasses.dataclass(frozen=True, repr=False)
class Residuals:
    """Losses in nats a token, and how far the streams' predictions are apart.

    `single` (streams,): the loss of each stream alone. `averaged`: that of the mean of their probabilities. `merged`:
    that of the model. `disagreement`: E[(D_i - D_j)^2] over pairs of streams, D_i the relative residual of stream i.
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


def residuals(model: lm.Model, batches: lm.Batch | Iterable[lm.Batch]) -> Residuals:
    """Compare the streams of a model on batches with the theory of independent residuals.

    If stream i predicts p (1 + D_i) for what has probability p, with E[D] = 0, variance s^2 and correlation rho, its
    loss is E + s^2 / 2 to second order, and that of the mean of P predictions E + s^2 / 2 * (1 + (P - 1) rho) / P. The
    gain, s^2 / 2 * (1 - rho) (P - 1) / P, follows from s^2 (1 - rho) = E[(D_i - D_j)^2] / 2, which is measured here,
    with D_i - D_j = (p_i - p_j) / mean p, weighted by mean p over the vocabulary. ParScale (arXiv 2505.10475), section
    3.1. Raises ValueError for a model with fewer than two streams.
    """
    if model.streams is None or model.streams.count < 2:
        raise ValueError("model: one stream, must have two or more: parscale.wrap")
    total, count = 0.0, 0
    for batch in [batches] if isinstance(batches, lm.Batch) else batches:
        total = total + np.asarray(_sums(model, batch), np.float64)
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


@jax.jit
def _sums(model: lm.Model, batch: lm.Batch) -> Array:
    """Sums over the positions that count: loss averaged, loss merged, squared disagreement, loss of each stream."""
    assert model.streams is not None
    streams = model.streams.count
    mask = jnp.asarray(batch.mask)
    summed = lambda a: jnp.where(mask, a, 0).sum((-2, -1))
    at_label = lambda told: jnp.take_along_axis(told, jnp.asarray(batch.labels)[..., None], axis=-1)[..., 0]
    apart = lm.forward(model.replace(streams=_Each(model.streams.prefix)), batch.tokens).logits
    assert apart is not None
    told = jax.nn.log_softmax(apart.reshape(streams, -1, *apart.shape[1:]), axis=-1)
    p = jnp.exp(told)
    mean = p.mean(0)
    # The mean over pairs of (p_i - p_j)^2 is 2 P / (P - 1) times the mean of (p_i - mean)^2.
    spread = ((p - mean[None]) ** 2).mean(0) * (2 * streams / (streams - 1)) / jnp.maximum(mean, 1e-30)
    merged = lm.forward(model, batch.tokens).logits
    assert merged is not None
    single = jax.vmap(lambda one: summed(-at_label(one)))(told)
    rest = (-jnp.log(at_label(mean)), -at_label(jax.nn.log_softmax(merged, axis=-1)), spread.sum(-1))
    return jnp.concatenate([jnp.stack([summed(a) for a in rest]), single])
