"""Keys and values of the tokens that a model has seen, so that a next token costs one token's work."""

from typing import Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, DTypeLike, Float, Int

from workbench.checks import integer
from workbench.lm._attention import Attention
from workbench.lm._model import Model


class KVCache(eqx.Module):
    """Keys and values of every layer, (layers, batch, slots, kv_heads, head_dim) each; `length` (batch,) tokens held.

    Of a model with streams: (layers, streams, batch, slots, kv_heads, head_dim). The first `prefix` slots hold the
    learned prefix; it is not counted in `length`. What lies beyond a sequence's length is never seen.
    """

    k: Float[Array, "layers *streams batch slots kv_heads head_dim"]
    v: Float[Array, "layers *streams batch slots kv_heads head_dim"]
    length: Int[Array, " batch"]
    prefix: int = eqx.field(static=True, default=0)

    @property
    def batch(self) -> int:
        """Sequences."""
        return self.k.shape[-4]

    @property
    def room(self) -> int:
        """Tokens that fit."""
        return self.k.shape[-3] - self.prefix

    def rollback(self, length: int | Int[Array, " batch"]) -> Self:
        """The first `length` tokens of each sequence; the rest is forgotten. ValueError for more than are held."""
        length = jnp.broadcast_to(jnp.asarray(length, self.length.dtype), self.length.shape)
        if not isinstance(length, Tracer) and not isinstance(self.length, Tracer):
            wrong = (length < 0) | (length > self.length)
            if bool(wrong.any()):
                raise ValueError(f"length: {np.asarray(length)}, must lie in 0 to {np.asarray(self.length)}")
        return eqx.tree_at(lambda cache: cache.length, self, length)

    def fork(self, count: int) -> Self:
        """Every sequence `count` times, one after the other: (batch * count) sequences that go on apart."""
        integer("count", count)
        return self.take(jnp.repeat(jnp.arange(self.batch), count))

    def take(self, rows: Int[Array, " rows"]) -> Self:
        """The sequences of these indices."""
        k, v = (jnp.take(a, rows, axis=-4) for a in (self.k, self.v))
        return type(self)(k, v, self.length[rows], self.prefix)


def make_cache(model: Model, batch: int, room: int, dtype: DTypeLike | None = None) -> KVCache:
    """An empty cache for `batch` sequences of `room` tokens; a model's learned prefix lies in it already.

    Raises ValueError for a model that cannot go on from its past (recurrent mixers; an encoder), numbers below 1, or
    more room than the model has positions.
    """
    integer("batch", batch)
    integer("room", room)
    config, mixer = model.config, model.config.mixer
    if not (isinstance(mixer, Attention) and config.causal):
        raise ValueError(f"model: {mixer}, must be causal attention to have a cache")
    if config.longest is not None and room > config.longest:
        raise ValueError(f"room: {room}, must be at most {config.longest}, the model's longest sequence")
    dtype = model.weights["embedding"].dtype if dtype is None else dtype
    heads, width = mixer.groups, mixer.width(config.hidden_dim)
    length = jnp.zeros(batch, jnp.int32)
    if model.streams is None:
        k, v = (jnp.zeros((config.layers, batch, room, heads, width), dtype) for _ in range(2))
        return KVCache(k, v, length)
    k, v = (_behind(p.astype(dtype), batch, room) for p in model.streams.prefix)
    return KVCache(k, v, length, model.streams.tokens)


def _behind(prefix: Float[Array, "layers streams tokens heads head_dim"], batch: int, room: int) -> Array:
    """Empty slots behind a prefix, for every sequence."""
    layers, streams, tokens, *rest = prefix.shape
    prefix = jnp.broadcast_to(prefix[:, :, None], (layers, streams, batch, tokens, *rest))
    return jnp.pad(prefix, [(0, 0)] * 3 + [(0, room)] + [(0, 0)] * 2)
