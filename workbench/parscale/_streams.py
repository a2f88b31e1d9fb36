"""Parallel streams: one model, P passes behind P learned prefixes, merged token by token with learned weights."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from workbench import lm


class Streams(lm.AbstractStreams):
    """P streams and their aggregation (ParScale, arXiv 2505.10475, section 3).

        a = softmax(W2 silu(W1 z + b1) + b2),  a <- (1 - smoothing) a + smoothing / P,  y = sum_p a_p h_p

    with h_p the normalised hidden state of stream p and z all of them side by side, feature-major (feature * P +
    stream); the softmax in float32. Smoothing keeps every stream in use. `aggregation` "mean" is y = mean_p h_p,
    without parameters; one stream is y = h_1, a prefix and nothing else.

    `prefix`: keys and values of each layer, (layers, streams, prefix_tokens, kv_heads, head_dim) each. `gate`: "up"
    {"weight": (P dim, dim), "bias": (dim)} and "down" {"weight": (dim, P), "bias": (P)}, None where nothing is learned.
    """

    prefix: tuple[Array, Array]
    gate: dict[str, dict[str, Array]] | None
    smoothing: float = eqx.field(static=True, default=0.1)

    @property
    def aggregation(self) -> Literal["dynamic", "mean"]:
        """How streams are merged."""
        return "mean" if self.gate is None else "dynamic"

    def weights(self, hidden: Float[Array, "streams batch time dim"]) -> Float[Array, "streams batch time"]:
        """What each stream counts for at each token; they sum to 1."""
        streams = hidden.shape[0]
        if self.gate is None:
            return jnp.full(hidden.shape[:-1], 1 / streams, hidden.dtype)
        z = jnp.moveaxis(hidden, 0, -1)
        z = z.reshape(*z.shape[:-2], -1)
        up, down = self.gate["up"], self.gate["down"]
        inner = jax.nn.silu(z @ up["weight"] + up["bias"].reshape(1, 1, -1))
        scores = inner @ down["weight"] + down["bias"].reshape(1, 1, -1)
        a = jax.nn.softmax(scores.astype(np.promote_types(scores.dtype, np.float32)), axis=-1)
        a = (1 - self.smoothing) * a + self.smoothing / streams
        return jnp.moveaxis(a, -1, 0).astype(hidden.dtype)

    def merge(self, hidden: Float[Array, "streams batch time dim"]) -> Float[Array, "batch time dim"]:
        if hidden.shape[0] == 1:
            return hidden[0]
        return (self.weights(hidden)[..., None] * hidden).sum(0)
