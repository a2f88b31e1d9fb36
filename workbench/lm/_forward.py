"""One forward pass for every model of the room: trained here or loaded, whole or token by token, one stream or many."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from workbench.lm import masks
from workbench.lm._cache import KVCache
from workbench.lm._config import Config
from workbench.lm._layers import causal_conv, lift, linear, mlp, normalise
from workbench.lm._mixer import Context, Mixed, SolveStats
from workbench.lm._model import Model


class Output(NamedTuple):
    """What a forward pass gives.

    `logits` (batch, time, outputs) of every position, None of an encoder; `hidden` (batch, time, hidden_dim), what the
    read-out reads; `cache` after the tokens, if one was given; `exit_logits`, read out after `exit_layer` layers;
    `stats`, how recurrences were solved (None: there are none). Of tokens without a batch axis, without it.
    """

    logits: Float[Array, "*batch time outputs"] | None
    hidden: Float[Array, "*batch time dim"]
    cache: KVCache | None = None
    exit_logits: Float[Array, "*batch time outputs"] | None = None
    stats: SolveStats | None = None


class Tokens(NamedTuple):
    """Tokens, and what may be told of them: see `forward`."""

    ids: Int[Array, "batch time"]
    mask: Bool[Array, "#batch time keys"] | None = None
    positions: Int[Array, "#batch time"] | None = None


def forward(
    model: Model,
    tokens: Any,
    *,
    mask: Any = None,
    positions: Any = None,
    cache: KVCache | None = None,
    exit_layer: int | None = None,
) -> Output:
    """Logits of every position: of a causal model they depend on the tokens up to it.

    `tokens` (batch, time) or (time,), integers. `mask` (time, keys), or with a batch axis in front, says which tokens
    each may see, instead of the model's own order; keys are the tokens, or all slots of the cache (`cache.room`).
    `positions` (time,) or (batch, time), instead of counting on from the cache. With a `cache` (see `lm.make_cache`)
    tokens follow those that it holds, and the output's cache holds them, too. `exit_layer` also reads out after that
    many layers. A learned prefix is seen by every token and takes no position.

    Raises ValueError for tokens that are no such integers, or (where they are known) outside the vocabulary, too many
    for the model or the cache, and for a mask, positions or an exit that do not fit. A recurrence whose solver did not
    converge is told in `stats`, not raised: Newton(steps=K) is a choice.
    """
    ids = jnp.asarray(tokens)
    if ids.ndim not in (1, 2) or 0 in ids.shape or not jnp.issubdtype(ids.dtype, jnp.integer):
        raise ValueError(f"tokens: {ids.dtype}{list(ids.shape)}, must be integers of shape (batch, time) or (time,)")
    given = Tokens(
        ids[None] if ids.ndim == 1 else ids,
        None if mask is None else jnp.asarray(mask),
        None if positions is None else jnp.atleast_2d(jnp.asarray(positions)),
    )
    _check(model, given, cache, exit_layer)
    output = _forward(model, given, cache, exit_layer)
    if ids.ndim == 2:
        return output
    first = lambda a: None if a is None else a[0]
    return output._replace(logits=first(output.logits), hidden=output.hidden[0], exit_logits=first(output.exit_logits))


class Trunk(NamedTuple):
    """What the layers give: normalised hidden states (batch, time, dim), those of the exit, cache, solve statistics."""

    hidden: Array
    early: Array | None
    cache: KVCache | None
    stats: SolveStats | None


def trunk(model: Model, tokens: Tokens, cache: KVCache | None, exit_layer: int | None = None) -> Trunk:
    """All but the read-out; unchecked and not compiled, to be used inside other compiled functions."""
    config, weights, time = model.config, model.weights, tokens.ids.shape[1]
    ahead = 0 if model.streams is None else model.streams.tokens
    length = jnp.zeros(1, jnp.int32) if cache is None else cache.length
    positions = tokens.positions
    if positions is None:
        positions = length[:, None] + jnp.arange(time, dtype=jnp.int32)[None]
    x = weights["embedding"][tokens.ids] * config.embedding_scale
    if config.positions is not None:
        x = x + jnp.broadcast_to(weights["positions"][positions], x.shape)
    if config.post_norm:
        x = normalise(weights["norm"], x, config.norm_eps)
    visible = jnp.asarray(masks.prefix(_visible(config, tokens.mask, time, cache), ahead))
    context = Context(positions, visible, config.norm_eps, slots=None if cache is None else cache.length + ahead)
    held = None if cache is None else (cache.k, cache.v)
    run = partial(_layers, config, weights["layers"], context, x, exit_layer)
    if model.streams is None:
        x, early, held, stats = run(None, held)
        merged = lambda x: x
    else:
        prefix = None if cache is not None else model.streams.prefix  # which a cache holds already
        x, early, held, stats = jax.vmap(run, in_axes=1, out_axes=(0, 0, 1, 1))(prefix, held)
        merged = model.streams.merge
    if cache is not None:
        cache = KVCache(*held, cache.length + time, cache.prefix)
    final = (lambda x: x) if config.post_norm else (lambda x: normalise(weights["norm"], x, config.norm_eps))
    return Trunk(merged(final(x)), None if early is None else merged(final(early)), cache, stats)


def read_out(model: Model, hidden: Float[Array, "*lead dim"]) -> Float[Array, "*lead outputs"] | None:
    """The logits, None of an encoder."""
    if not model.config.readout:
        return None
    return hidden @ (model.weights["embedding"].T if model.config.tied else model.weights["readout"])


@partial(jax.jit, static_argnums=3)
def _forward(model: Model, tokens: Tokens, cache: KVCache | None, exit_layer: int | None) -> Output:
    hidden, early, cache, stats = trunk(model, tokens, cache, exit_layer)
    return Output(read_out(model, hidden), hidden, cache, None if early is None else read_out(model, early), stats)


def _layers(
    config: Config, layers: Any, context: Context, x: Array, exit_layer: int | None, prefix: Any, held: Any
) -> tuple[Array, Array | None, Any, SolveStats | None]:
    """(x, x after the exit layer, cache, statistics). Layers stacked on an axis are scanned, a list is unrolled."""

    def block(carry: tuple[Array, Any], each: tuple[Any, Any, Any]) -> tuple[tuple[Array, Any], SolveStats | None]:
        x, held = carry
        layer, prefix, index = each
        x, mixed = _block(config, layer, x, context._replace(prefix=prefix, cache=held, layer=index))
        return (x, mixed.cache), mixed.stats

    def some(carry: tuple[Array, Any], start: int, stop: int) -> tuple[tuple[Array, Any], SolveStats | None]:
        cut = lambda tree: jax.tree.map(lambda a: a[start:stop], tree) if stop - start < config.layers else tree
        if not isinstance(layers, list):
            return jax.lax.scan(block, carry, (cut(layers), cut(prefix), jnp.arange(start, stop)))
        for index in range(start, stop):
            carry, _ = block(carry, (layers[index], jax.tree.map(lambda a, i=index: a[i], prefix), index))
        return carry, None  # unrolled for decoding, where no recurrence is solved

    if exit_layer is None:
        (x, held), stats = some((x, held), 0, config.layers)
        return x, None, held, stats
    (early, held), first = some((x, held), 0, exit_layer)
    (x, held), rest = some((early, held), exit_layer, config.layers)
    stats = None if first is None else jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, rest)
    return x, early, held, stats


def _block(config: Config, params: Any, x: Array, context: Context) -> tuple[Array, Mixed]:
    before = (lambda name, x: x) if config.post_norm else (lambda name, x: normalise(params[name], x, config.norm_eps))
    after = (lambda name, x: normalise(params[name], x, config.norm_eps)) if config.post_norm else (lambda name, x: x)
    y = before("norm", x)
    if config.bare:
        mixed = config.mixer(params["mixer"], y, context)
        return mixed.y, mixed
    if config.mixer.gated:
        u, gate = jnp.split(linear(params["in"], y), 2, axis=-1)
        if config.conv_width > 1:
            u = causal_conv(u, **params["conv"])
        mixed = config.mixer(params["mixer"], jax.nn.silu(u), context)
        y = linear(params["out"], normalise(params["norm_gate"], mixed.y * jax.nn.silu(gate), config.norm_eps))
        x = lift(params["residual"], x.ndim) * x + y
    else:
        mixed = config.mixer(params["mixer"], y, context)
        x = after("norm", x + linear(params["out"], mixed.y))
    if config.mlp_width:
        x = after("norm_mlp", x + mlp(params["mlp"], before("norm_mlp", x)))
    return x, mixed


def _visible(config: Config, mask: Array | None, time: int, cache: KVCache | None) -> Bool[Array, "#batch time keys"]:
    """Which tokens (or slots of the cache) each token may see."""
    if mask is not None:
        return mask if mask.ndim == 3 else mask[None]
    if cache is None:
        return jnp.asarray((masks.causal if config.causal else masks.full)(time))[None]
    last = cache.length[:, None] + jnp.arange(time, dtype=jnp.int32)[None]
    return jnp.arange(cache.room, dtype=jnp.int32)[None, None] <= last[..., None]


def _check(model: Model, tokens: Tokens, cache: KVCache | None, exit_layer: int | None) -> None:
    config, (batch, time) = model.config, tokens.ids.shape
    if not isinstance(tokens.ids, Tracer):
        low, high = int(np.min(tokens.ids)), int(np.max(tokens.ids))
        if low < 0 or high >= config.vocab:
            raise ValueError(f"tokens: {low} to {high}, must lie in 0 to {config.vocab - 1}, the vocabulary")
    if config.longest is not None and time > config.longest:
        raise ValueError(f"tokens: {time} of them, must be at most {config.longest}, the model's longest sequence")
    if cache is not None:
        if cache.batch != batch:
            raise ValueError(
                f"cache: made for {cache.batch} sequences, must be for {batch}, as many as the tokens have"
            )
        held = None if isinstance(cache.length, Tracer) else int(np.max(cache.length))
        if held is not None and held + time > cache.room:
            raise ValueError(f"cache: room for {cache.room} tokens, must be at least {held} held + {time} new")
    if tokens.mask is not None:
        keys = time if cache is None else cache.room
        if config.mixer.gated:
            raise ValueError(f"mask: {tokens.mask.shape}, must be None: {config.mixer} sees its past in order")
        if tokens.mask.dtype != bool or tokens.mask.shape not in {(time, keys), (1, time, keys), (batch, time, keys)}:
            raise ValueError(
                f"mask: {tokens.mask.dtype}{list(tokens.mask.shape)}, must be bool of shape {(time, keys)}, "
                f"or with a batch axis of {batch}"
            )
    if tokens.positions is not None and tokens.positions.shape not in {(1, time), (batch, time)}:
        raise ValueError(f"positions: shape {tokens.positions.shape}, must be ({time},) or ({batch}, {time})")
    if exit_layer is not None and not 0 < exit_layer <= config.layers:
        raise ValueError(f"exit_layer: {exit_layer!r}, must be 1 to {config.layers}, the model's layers")
