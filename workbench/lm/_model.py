"""The model: fresh parameters, one forward pass; layers are stacked on a leading axis and run by `lax.scan`."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, DTypeLike, Float, Int, PRNGKeyArray

from workbench.lm._config import Config
from workbench.lm._layers import causal_conv, init_conv, init_swiglu, lift, matrix, rms_norm, swiglu
from workbench.lm._mixer import SolveStats


class Output(NamedTuple):
    """What a forward pass gives: `logits` (batch, time, outputs), and how the recurrences were solved (None: none)."""

    logits: Float[Array, "batch time outputs"]
    stats: SolveStats | None


def init(config: Config, key: PRNGKeyArray, dtype: DTypeLike = jnp.float32) -> dict[str, Any]:
    """Fresh parameters; each leaf under "layers" has a leading axis of `config.layers`.

    Matrices are normal with standard deviation 1/sqrt(fan-in), those that write into the residual stream 1/sqrt(2
    layers) of that, so that its variance does not grow with depth.
    """
    return _init(config, key, jnp.dtype(dtype))


def forward(config: Config, params: Any, tokens: Int[Array | np.ndarray, "batch time"]) -> Output:
    """Logits of every position, which depend on the tokens up to it: (batch, time, outputs), and solve statistics.

    Raises ValueError for tokens that are no integers of shape (batch, time), or (where they are known) outside the
    vocabulary. A recurrence whose solver did not converge is told in `stats`, not raised: Newton(steps=K) is a choice.
    """
    tokens = jnp.asarray(tokens)
    if tokens.ndim != 2 or 0 in tokens.shape or not jnp.issubdtype(tokens.dtype, jnp.integer):
        raise ValueError(f"tokens: {tokens.dtype}{list(tokens.shape)}, must be integers of shape (batch, time)")
    if not isinstance(tokens, Tracer):
        low, high = int(np.min(tokens)), int(np.max(tokens))
        if low < 0 or high >= config.vocab:
            raise ValueError(f"tokens: {low} to {high}, must lie in 0 to {config.vocab - 1}, the vocabulary")
    return _forward(config, params, tokens)


def count_parameters(config: Config, *, embedding: bool = True) -> int:
    """How many numbers `init` draws; with embedding=False, without the embedding and an untied read-out."""
    shapes = jax.eval_shape(partial(init, config), jax.random.key(0))
    if not embedding:
        shapes = {name: leaf for name, leaf in shapes.items() if name not in ("embedding", "readout")}
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def clip(config: Config, params: Any) -> Any:
    """The parameters with recurrent weights back inside the mixer's bounds; training does it after every step."""
    layers = params["layers"] | {"mixer": config.mixer.clip(config.inner_dim, params["layers"]["mixer"])}
    return params | {"layers": layers}


@partial(jax.jit, static_argnums=(0, 2))
def _init(config: Config, key: PRNGKeyArray, dtype: DTypeLike) -> dict[str, Any]:
    embedding_key, layers_key, readout_key = jax.random.split(key, 3)
    params = {
        "embedding": jax.random.normal(embedding_key, (config.vocab, config.hidden_dim), dtype),
        # One layer after the other: the random generator, vectorised over keys, takes XLA twice as long to compile.
        "layers": jax.lax.map(partial(_init_layer, config, dtype), jax.random.split(layers_key, config.layers)),
        "norm": jnp.ones(config.hidden_dim, dtype),
    }
    if config.tied:
        params["embedding"] = params["embedding"] / math.sqrt(config.hidden_dim)
    else:
        params["readout"] = matrix(readout_key, config.hidden_dim, config.outputs, dtype)
    return params


@partial(jax.jit, static_argnums=0)
def _forward(config: Config, params: Any, tokens: Array) -> Output:
    x = params["embedding"][tokens]
    if config.tied:  # small as a read-out, of variance 1 as an input
        x = x * math.sqrt(config.hidden_dim)
    x, stats = jax.lax.scan(lambda x, layer: _layer(config, layer, x), x, params["layers"])
    readout = params["embedding"].T if config.tied else params["readout"]
    return Output(rms_norm(x, params["norm"]) @ readout, stats)


def _layer(config: Config, params: Any, x: Array) -> tuple[Array, SolveStats | None]:
    y = rms_norm(x, params["norm"])
    if config.bare:
        return config.mixer(params["mixer"], y)
    if config.mixer.gated:
        u, gate = jnp.split(y @ params["in"], 2, axis=-1)
        if config.conv_width > 1:
            u = causal_conv(u, **params["conv"])
        y, stats = config.mixer(params["mixer"], jax.nn.silu(u))
        y = rms_norm(y * jax.nn.silu(gate), params["norm_gate"]) @ params["out"]
        x = lift(params["residual"], x.ndim) * x + y
    else:
        y, stats = config.mixer(params["mixer"], y)
        x = x + y @ params["out"]
    if config.mlp_width:
        x = x + swiglu(params["mlp"], rms_norm(x, params["norm_mlp"]))
    return x, stats


def _init_layer(config: Config, dtype: DTypeLike, key: PRNGKeyArray) -> dict[str, Any]:
    dim, inner = config.hidden_dim, config.inner_dim
    mixer_key, in_key, conv_key, out_key, mlp_key = jax.random.split(key, 5)
    params: dict[str, Any] = {"norm": jnp.ones(dim, dtype), "mixer": config.mixer.init(inner, mixer_key, dtype)}
    if config.bare:
        return params
    into_residual = 1 / math.sqrt(2 * config.layers)
    params["out"] = matrix(out_key, inner, dim, dtype, into_residual)
    if config.mixer.gated:
        params["in"] = matrix(in_key, dim, 2 * inner, dtype)
        if config.conv_width > 1:
            params["conv"] = init_conv(conv_key, config.conv_width, inner, dtype)
        params["norm_gate"] = jnp.ones(inner, dtype)
        params["residual"] = jnp.ones(dim, dtype)
    if config.mlp_width:
        params["norm_mlp"] = jnp.ones(dim, dtype)
        params["mlp"] = init_swiglu(mlp_key, dim, config.mlp_width, dtype, into_residual)
    return params
