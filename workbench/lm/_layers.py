"""The small parts that every block is made of: normalisation, matrices, the causal convolution, the MLP."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray

Params = dict[str, Array]


def rms_norm(x: Float[Array, "*lead dim"], weight: Float[Array, " dim"]) -> Float[Array, "*lead dim"]:
    """x / sqrt(mean(x^2) + 1e-6) * weight, over the last axis."""
    scale = jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + jnp.asarray(1e-6, x.dtype))
    return x * scale * lift(weight, x.ndim)


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


def swiglu(params: Params, x: Float[Array, "*lead dim"]) -> Float[Array, "*lead dim"]:
    """(silu(x W_gate) * (x W_up)) W_down (Shazeer, arXiv 2002.05202)."""
    gate, up = jnp.split(x @ params["up"], 2, axis=-1)
    return (jax.nn.silu(gate) * up) @ params["down"]


def init_swiglu(key: PRNGKeyArray, dim: int, hidden: int, dtype: DTypeLike, gain: float) -> Params:
    """W_gate and W_up side by side in "up" (dim, 2 hidden), and "down" (hidden, dim)."""
    up, down = jax.random.split(key)
    return {"up": matrix(up, dim, 2 * hidden, dtype), "down": matrix(down, hidden, dim, dtype, gain)}


def lift(a: Array, ndim: int) -> Array:
    """Leading axes of length 1, so that nothing relies on implicit rank promotion."""
    return a.reshape((1,) * (ndim - a.ndim) + a.shape)
