"""The small parts that every block is made of: normalisation, matrix products, the causal convolution, the MLP."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray

Params = dict[str, Array]


def linear(site: Params, x: Float[Array, "*lead fan_in"]) -> Float[Array, "*lead fan_out"]:
    """x W + b: every matrix product of the blocks. A site is {"weight": (fan_in, fan_out)}, with "bias" or not."""
    y = x @ site["weight"]
    return y + lift(site["bias"], y.ndim) if "bias" in site else y


def init_linear(
    key: PRNGKeyArray, fan_in: int, fan_out: int, dtype: DTypeLike, gain: float = 1.0, bias: bool = False
) -> Params:
    """A site: normal numbers of standard deviation gain / sqrt(fan_in), and a bias of zeros where it is wanted."""
    site = {"weight": matrix(key, fan_in, fan_out, dtype, gain)}
    return site | {"bias": jnp.zeros(fan_out, dtype)} if bias else site


def normalise(params: Params, x: Float[Array, "*lead dim"], eps: float) -> Float[Array, "*lead dim"]:
    """LayerNorm where there is a bias: (x - mean) / sqrt(variance + eps) * weight + bias; else RMSNorm. In float32.

    RMSNorm is x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich, arXiv 1910.07467).
    """
    if "bias" not in params:
        return rms_norm(x, params["weight"], eps)
    wide = x.astype(single(x.dtype))
    wide = wide - wide.mean(-1, keepdims=True)
    return rms_norm(wide, params["weight"], eps).astype(x.dtype) + lift(params["bias"], x.ndim)


def init_norm(dim: int, dtype: DTypeLike, bias: bool) -> Params:
    """A weight of ones, with a bias of zeros for LayerNorm."""
    return {"weight": jnp.ones(dim, dtype)} | ({"bias": jnp.zeros(dim, dtype)} if bias else {})


def rms_norm(
    x: Float[Array, "*lead dim"], weight: Float[Array, " dim"], eps: float = 1e-6
) -> Float[Array, "*lead dim"]:
    """x / sqrt(mean(x^2) + eps) * weight, over the last axis; the mean in float32 at least."""
    wide = x.astype(single(x.dtype))
    scale = jax.lax.rsqrt((wide * wide).mean(-1, keepdims=True) + jnp.asarray(eps, wide.dtype))
    return (wide * scale).astype(x.dtype) * lift(weight.astype(x.dtype), x.ndim)


def single(dtype: DTypeLike) -> np.dtype:
    """float32, or float64 where that is what comes in: what sums are taken in."""
    return np.promote_types(dtype, np.float32)


def matrix(key: PRNGKeyArray, fan_in: int, fan_out: int, dtype: DTypeLike, gain: float = 1.0) -> Array:
    """Normal numbers of standard deviation gain / sqrt(fan_in), shape (fan_in, fan_out)."""
    return gain / math.sqrt(fan_in) * jax.random.normal(key, (fan_in, fan_out), dtype)


def causal_conv(
    x: Float[Array, "*batch time dim"], kernel: Float[Array, "width dim"], bias: Float[Array, " dim"]
) -> Float[Array, "*batch time dim"]:
    """y_t = bias + sum_w kernel_w x_{t - width + 1 + w}, a channel each; what lies before the start counts as zero."""
    width, time = kernel.shape[0], x.shape[-2]
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(width - 1, 0), (0, 0)])
    shifted = (padded[..., w : w + time, :] * lift(kernel[w], x.ndim) for w in range(width))
    return sum(shifted, lift(bias, x.ndim))


def init_conv(key: PRNGKeyArray, width: int, dim: int, dtype: DTypeLike) -> Params:
    """A kernel within 1/sqrt(width), the usual start of a depthwise convolution, and a zero bias."""
    bound = 1 / math.sqrt(width)
    kernel = jax.random.uniform(key, (width, dim), dtype, -bound, bound)
    return {"kernel": kernel, "bias": jnp.zeros(dim, dtype)}


def mlp(params: dict[str, Any], x: Float[Array, "*lead dim"]) -> Float[Array, "*lead dim"]:
    """SwiGLU where there is a gate: (silu(x W_gate) * (x W_up)) W_down (arXiv 2002.05202); else gelu(x W_up) W_down."""
    up = linear(params["up"], x)
    gated = "gate" in params
    hidden = jax.nn.silu(linear(params["gate"], x)) * up if gated else jax.nn.gelu(up, approximate=False)
    return linear(params["down"], hidden)


def init_mlp(
    key: PRNGKeyArray, dim: int, hidden: int, dtype: DTypeLike, gain: float, *, gated: bool, bias: bool
) -> dict[str, Params]:
    """Sites "up", "down" and, of a gated one, "gate"."""
    up_key, down_key = jax.random.split(key)
    up = init_linear(up_key, dim, 2 * hidden if gated else hidden, dtype, bias=bias)
    down = init_linear(down_key, hidden, dim, dtype, gain, bias)
    if not gated:
        return {"up": up, "down": down}
    gate, up = split_site(up, 2)
    return {"gate": gate, "up": up, "down": down}


def split_site(site: Params, parts: int) -> list[Params]:
    """A site as several, side by side: the columns of each."""
    columns = {name: jnp.split(leaf, parts, axis=-1) for name, leaf in site.items()}
    return [{name: leaves[i] for name, leaves in columns.items()} for i in range(parts)]


def lift(a: Array, ndim: int) -> Array:
    """Leading axes of length 1, so that nothing relies on implicit rank promotion."""
    return a.reshape((1,) * (ndim - a.ndim) + a.shape)
