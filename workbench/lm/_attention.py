"""Softmax attention: grouped heads, rotary positions, any mask, a prefix before the tokens, a cache behind them."""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int, PRNGKeyArray

from workbench.checks import integer
from workbench.lm._layers import init_linear, linear, rms_norm, single, split_site
from workbench.lm._mixer import AbstractMixer, Context, Mixed


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """Llama 3's stretch of rotary positions: slow rotations by `factor`, fast ones not, between them a mixture.

    A rotation is slow if it turns fewer than `low` times in `original` positions, fast if more than `high` times.
    """

    factor: float
    low: float
    high: float
    original: float

    def __post_init__(self) -> None:
        if not (self.factor >= 1 and 0 < self.low < self.high and self.original > 0):
            raise ValueError(f"rope_scaling: {self}, must have factor >= 1, 0 < low < high and original > 0")

    def __call__(self, rate: Float[Array, " pairs"]) -> Float[Array, " pairs"]:
        """The rates (radians a position), stretched."""
        turns = self.original * rate / (2 * math.pi)
        fast = jnp.clip((turns - self.low) / (self.high - self.low), 0, 1)
        return (1 - fast) * rate / self.factor + fast * rate


@dataclasses.dataclass(frozen=True)
class Attention(AbstractMixer):
    """Softmax attention with rotary positions (RoPE); by default with normalised queries and keys, as in DCLM.

    y_t = sum_s softmax_s(q_t . k_s / sqrt(head_dim)) v_s over the s that t may see;  q, k = RoPE(RMSNorm(x W))

    `heads` query heads share `kv_heads` key and value heads (None: as many), each of `head_dim` channels (None: width /
    heads). `rope_theta` None: no rotation, positions come otherwise. `qk_norm` normalises queries and keys head by head
    before the rotation; `bias` adds one to q, k and v. `causal` False: every token sees all (an encoder).
    `rope_scaling`: see RopeScaling. The output projection belongs to the block. Raises ValueError for a width that
    heads do not divide, an odd head_dim with RoPE, or heads that kv_heads does not divide.
    Sources: RoPE (arXiv 2104.09864); grouped heads (arXiv 2305.13245); DCLM (arXiv 2406.11794).
    """

    heads: int = 4
    rope_theta: float | None = 1e4
    kv_heads: int | None = None
    head_dim: int | None = None
    qk_norm: bool = True
    bias: bool = False
    causal: bool = True
    rope_scaling: RopeScaling | None = None

    gated: ClassVar[bool] = False

    def __post_init__(self) -> None:
        integer("heads", self.heads)
        for name in ("kv_heads", "head_dim"):
            if getattr(self, name) is not None:
                integer(name, getattr(self, name))
        if self.heads % self.groups:
            raise ValueError(f"kv_heads: {self.kv_heads}, must divide heads = {self.heads}")
        if self.rope_theta is not None and not self.rope_theta > 1:
            raise ValueError(f"rope_theta: {self.rope_theta!r}, must be greater than 1, or None")

    @property
    def groups(self) -> int:
        """Key and value heads."""
        return self.heads if self.kv_heads is None else self.kv_heads

    def width(self, dim: int) -> int:
        """Channels of one head in a model of this width."""
        return dim // self.heads if self.head_dim is None else self.head_dim

    def output_dim(self, dim: int) -> int:
        return self.heads * self.width(dim)

    def check(self, dim: int) -> None:
        pairs = 1 if self.rope_theta is None else 2
        if self.head_dim is None and dim % (pairs * self.heads):
            why = " (rotary positions act on pairs)" if pairs == 2 else ""
            raise ValueError(f"hidden_dim: {dim}, must be a multiple of {pairs} * heads = {pairs * self.heads}{why}")
        if self.width(dim) % pairs:
            raise ValueError(f"head_dim: {self.head_dim}, must be even: rotary positions act on pairs")

    def init(self, dim: int, key: PRNGKeyArray, dtype: DTypeLike) -> dict[str, Any]:
        head_dim = self.width(dim)
        q, kv = self.heads * head_dim, self.groups * head_dim
        if q == kv:  # one matrix, cut in three
            sites = split_site(init_linear(key, dim, 3 * q, dtype, bias=self.bias), 3)
        else:
            keys = jax.random.split(key, 3)
            sites = [init_linear(k, dim, n, dtype, bias=self.bias) for k, n in zip(keys, (q, kv, kv), strict=True)]
        params: dict[str, Any] = dict(zip("qkv", sites, strict=True))
        if self.qk_norm:
            params |= {name: jnp.ones(head_dim, dtype) for name in ("norm_q", "norm_k")}
        return params

    def __call__(self, params: dict[str, Any], x: Array, context: Context) -> Mixed:
        q, k, v = (_heads(linear(params[name], x), n) for name, n in zip("qkv", self._counts, strict=True))
        if self.qk_norm:
            q, k = rms_norm(q, params["norm_q"], context.eps), rms_norm(k, params["norm_k"], context.eps)
        if self.rope_theta is not None:
            q, k = (rope(a, context.positions, self.rope_theta, self.rope_scaling) for a in (q, k))
        cache = None
        if context.cache is not None:
            assert context.slots is not None
            slots = context.slots
            write = lambda held, new: append(held, new, context.layer, slots)
            cache = write(context.cache[0], k), write(context.cache[1], v)
            k, v = (held[context.layer] for held in cache)
        elif context.prefix is not None:
            k, v = (_before(p, new) for p, new in zip(context.prefix, (k, v), strict=True))
        with jax.numpy_dtype_promotion("standard"):  # the softmax is in float32
            y = jax.nn.dot_product_attention(q, k, v, mask=context.mask[:, None])
        return Mixed(y.reshape(*y.shape[:-2], -1), cache, None)

    @property
    def _counts(self) -> tuple[int, int, int]:
        return self.heads, self.groups, self.groups


def append(
    held: Float[Array, "layers batch slots heads head_dim"],
    new: Float[Array, "batch time heads head_dim"],
    layer: Int[Array, ""] | int,
    at: Int[Array, " batch"],
) -> Float[Array, "layers batch slots heads head_dim"]:
    """The new keys or values of a layer, written from each sequence's slot `at` on; what does not fit is dropped."""
    new, (batch, time) = new.astype(held.dtype), new.shape[:2]
    if batch == 1:  # in place; for several rows it is a scatter
        start = [jnp.asarray(i, at.dtype) for i in (layer, 0, at[0], 0, 0)]
        return jax.lax.dynamic_update_slice(held, new[None], start)
    slots = at[:, None] + jnp.arange(time, dtype=at.dtype)[None]
    return held.at[layer, jnp.arange(batch)[:, None], slots].set(new, mode="drop")


def rope(
    x: Float[Array, "batch time heads head_dim"],
    positions: Int[Array, "#batch time"],
    theta: float,
    scaling: RopeScaling | None = None,
) -> Float[Array, "batch time heads head_dim"]:
    """Rotate the pair (x_i, x_{i + head_dim/2}) by the angle position * theta^(-2i / head_dim); angles in float32."""
    half, wide = x.shape[-1] // 2, single(x.dtype)
    rate = theta ** (-jnp.arange(half, dtype=wide) / half)
    rate = rate if scaling is None else scaling(rate)
    angle = positions.astype(wide)[..., None, None] * rate.reshape(1, 1, 1, half)
    cos, sin = jnp.cos(angle).astype(x.dtype), jnp.sin(angle).astype(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


def _heads(x: Array, count: int) -> Array:
    return x.reshape(*x.shape[:-1], count, x.shape[-1] // count)


def _before(prefix: Float[Array, "tokens heads head_dim"], x: Array) -> Array:
    """A learned prefix, the same for every sequence, before the tokens."""
    tiled = jnp.broadcast_to(prefix[None].astype(x.dtype), (x.shape[0], *prefix.shape))
    return jnp.concatenate([tiled, x], axis=1)
