"""The state-space layer of Mamba-2 with a scalar decay a head, computed by matrix products over chunks of time.

S_t = exp(l_t) S_{t-1} + b_t x_t^T,  y_t = c_t^T S_t. Written out, y = (L * C B^T) x, L_ts = exp(l_{s+1} + ... + l_t)
for s <= t: attention with a decaying mask. Inside a chunk that product is formed; from chunk to chunk the state is
handed on by a linear recurrence. "Transformers are SSMs" (arXiv 2405.21060), sections 3 and 6.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray

from workbench import rnn
from workbench.checks import integer
from workbench.lm._layers import lift, matrix
from workbench.lm._mixer import AbstractMixer, Context, Mixed


@dataclasses.dataclass(frozen=True)
class SSD(AbstractMixer):
    """A Mamba-2-like mixer: `heads` states of (state_dim, dim/heads), all driven by one b_t and one c_t.

    d_t = softplus(u_t W_d + bias);  l_t = -exp(log_rate) d_t;  (b_t, c_t) = u_t W_bc
    S_t = exp(l_t) S_{t-1} + b_t (d_t x_t)^T;  y_t = c_t^T S_t + skip x_t,  with x = u split by heads

    u is the input (in the full block: after convolution and SiLU). Unlike the paper's, b, c and d are read from u, not
    from the residual stream, so that the block around the mixer is the same for all recurrent mixers. `chunk` is the
    length inside which products are formed; any length of sequence may come. Raises ValueError for numbers below 1, or
    a width that is no multiple of `heads`. Source: arXiv 2405.21060, section 7 and its initialisation.
    """

    heads: int = 4
    state_dim: int = 16
    chunk: int = 64

    def __post_init__(self) -> None:
        for name in ("heads", "state_dim", "chunk"):
            integer(name, getattr(self, name))

    def check(self, dim: int) -> None:
        if dim % self.heads:
            raise ValueError(f"hidden_dim: {dim}, must be a multiple of heads = {self.heads}")

    def init(self, dim: int, key: PRNGKeyArray, dtype: DTypeLike) -> dict[str, Array]:
        bc_key, d_key, rate_key, bias_key = jax.random.split(key, 4)
        log_d = jax.random.uniform(bias_key, (self.heads,), dtype, math.log(1e-3), math.log(1e-1))
        rate = jax.random.uniform(rate_key, (self.heads,), dtype, 1, 16)
        return {
            "bc": matrix(bc_key, dim, 2 * self.state_dim, dtype),
            "d": matrix(d_key, dim, self.heads, dtype),
            "d_bias": jnp.log(jnp.expm1(jnp.exp(log_d))),  # softplus of it is d: the time scales start spread out
            "log_rate": jnp.log(rate),
            "skip": jnp.ones(self.heads, dtype),
        }

    def __call__(self, params: dict[str, Array], x: Array, context: Context) -> Mixed:
        u, x = x, x.reshape(*x.shape[:-1], self.heads, x.shape[-1] // self.heads)
        b, c = jnp.split(u @ params["bc"], 2, axis=-1)
        d = jax.nn.softplus(u @ params["d"] + lift(params["d_bias"], u.ndim))
        decay = -lift(jnp.exp(params["log_rate"]), u.ndim) * d
        y = ssd(decay, b, c, d[..., None] * x, self.chunk) + lift(params["skip"][:, None], x.ndim) * x
        return Mixed(y.reshape(u.shape))


def ssd(
    decay: Float[Array, "batch time heads"],
    b: Float[Array, "batch time state"],
    c: Float[Array, "batch time state"],
    x: Float[Array, "batch time heads head_dim"],
    chunk: int,
) -> Float[Array, "batch time heads head_dim"]:
    """y_t = c_t^T S_t, S_t = exp(decay_t) S_{t-1} + b_t x_t^T from S_0 = 0, by matrix products inside chunks.

    `decay` is the logarithm of what is kept, at most 0. Work T * chunk, depth T / chunk.
    """
    time, length = x.shape[1], min(chunk, x.shape[1])
    # A padded step keeps everything and adds nothing.
    decay, b, c, x = (_chunked(a, length) for a in (decay, b, c, x))
    kept = jnp.cumsum(decay, axis=2)  # (batch, chunks, length, heads): from the start of the chunk through t
    t = jnp.arange(length)
    since = kept[:, :, :, None] - kept[:, :, None, :]  # s + 1 through t
    # exp after the mask: above the diagonal `since` is positive and would overflow, also in the gradient.
    since = jnp.where((t[:, None] >= t[None, :]).reshape(1, 1, length, length, 1), since, -jnp.inf)
    weights = jnp.einsum("bktn,bksn->bkts", c, b)[..., None] * jnp.exp(since)
    inside = jnp.einsum("bktsh,bkshp->bkthp", weights, x)
    to_end = jnp.exp(kept[:, :, -1:] - kept)
    added = jnp.einsum("bksn,bksh,bkshp->kbhnp", b, to_end, x)
    keeps = jnp.moveaxis(jnp.exp(kept[:, :, -1]), 1, 0)[..., None, None]
    ends = rnn.affine_scan(rnn.Diagonal(keeps), added, backend=rnn.Serial())
    starts = jnp.concatenate([jnp.zeros_like(ends[:1]), ends[:-1]])
    carried = jnp.einsum("bktn,bkth,kbhnp->bkthp", c, jnp.exp(kept), starts)
    y = inside + carried
    return y.reshape(y.shape[0], -1, *y.shape[3:])[:, :time]


def _chunked(a: Array, length: int) -> Array:
    """(batch, time, ...) -> (batch, chunks, length, ...), padded with zeros."""
    chunks = -(-a.shape[1] // length)
    padding = [(0, 0), (0, chunks * length - a.shape[1])] + [(0, 0)] * (a.ndim - 2)
    return jnp.pad(a, padding).reshape(a.shape[0], chunks, length, *a.shape[2:])
