"""The cells of ParaRNN (arXiv 2510.21450, section 3 and appendix A.1) and linear gated baselines.

Recurrent weights are diagonal, so that df/dh is diagonal (ParaGRU, LinearGRU) or a 2x2 block a channel (ParaLSTM);
mixing between channels is left to the input projection u = B x + b, one matrix product for all times.
"""

import dataclasses
import math
from abc import abstractmethod
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray

from workbench.rnn._blocks import restrict
from workbench.rnn._cell import InputCell, check_dimensions, lift
from workbench.rnn._jacobian import AbstractJacobian, Block, Diagonal

Params = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class GatedCell(InputCell):
    """What the gated cells share: the input projection by heads, its initialisation, and clipping.

    params["B"] is (gates, heads, input_dim/heads, hidden_dim/heads) and params["b"] (gates, hidden_dim): each head
    maps its slice of the input to its slice of the state. `initialisation` is "paper" (the language-model recipe of
    appendix C.1: B Kaiming uniform, recurrent weights Gaussian with std 1/sqrt(hidden_dim), b = 0) or "released" (the
    defaults of the released code: recurrent weights N(0, 4/(5 hidden_dim)), the update or forget gate's bias
    -linspace(0, 1) over the channels). `clip_at` is the bound that `.clip(params)` enforces on the recurrent weights:
    0.5 in the paper's language models, 0.9 in its synthetic tasks, None for parity.

    Raises ValueError for a dimension below 1, one that `heads` does not divide, or clip_at <= 0.
    """

    input_dim: int
    hidden_dim: int
    heads: int = 1
    clip_at: float | None = None
    initialisation: Literal["paper", "released"] = "paper"

    gates: ClassVar[int]
    recurrent: ClassVar[dict[str, int]]
    """Name of each recurrent (diagonal) weight and how many gates it feeds."""

    def __post_init__(self) -> None:
        check_dimensions(self, "input_dim", "hidden_dim", "heads")
        for name in ("input_dim", "hidden_dim"):
            if getattr(self, name) % self.heads:
                raise ValueError(f"{name}: {getattr(self, name)}, must be a multiple of heads = {self.heads}")
        if self.clip_at is not None and not self.clip_at > 0:
            raise ValueError(f"clip_at: {self.clip_at!r}, must be None or greater than 0")
        if self.initialisation not in ("paper", "released"):
            raise ValueError(f"initialisation: {self.initialisation!r}, must be 'paper' or 'released'")

    @property
    def state_shape(self) -> tuple[int, ...]:
        return (self.hidden_dim,)

    def init(self, key: PRNGKeyArray, dtype: DTypeLike = float) -> Params:
        """Fresh parameters; the recurrent weights are within `clip_at` from the start."""
        fan_in, width = self.input_dim // self.heads, self.hidden_dim // self.heads
        bound = math.sqrt(6 / fan_in)
        std = math.sqrt((1.0 if self.initialisation == "paper" else 0.8) / self.hidden_dim)
        B_key, *keys = jax.random.split(key, 1 + len(self.recurrent))
        b = jnp.zeros((self.gates, self.hidden_dim), dtype)
        if self.initialisation == "released":
            b = b.at[0].set(-jnp.linspace(0.0, 1.0, self.hidden_dim, dtype=dtype))
        params = {
            "B": jax.random.uniform(B_key, (self.gates, self.heads, fan_in, width), dtype, -bound, bound),
            "b": b,
        }
        for name, k in zip(self.recurrent, keys, strict=True):
            params[name] = std * jax.random.normal(k, (self.recurrent[name], self.hidden_dim), dtype)
        return self.clip(params)

    def clip(self, params: Params) -> Params:
        """The parameters, recurrent weights brought into [-clip_at, clip_at]; call it after an optimiser step."""
        if self.clip_at is None:
            return params
        return params | {name: jnp.clip(params[name], -self.clip_at, self.clip_at) for name in self.recurrent}

    def project(self, params: Params, x: Float[Array, "*lead input_dim"]) -> Float[Array, "*lead gates hidden_dim"]:
        """u = B x + b."""
        B = jnp.moveaxis(params["B"], 0, 2)  # one product a head for all gates: 4 times faster on CPU than one a gate
        heads, fan_in, gates, width = B.shape
        u = jnp.einsum(
            "nhi,hip->hnp",
            x.reshape(-1, heads, fan_in),
            B.reshape(heads, fan_in, gates * width),
            precision=jax.lax.Precision.HIGHEST,
        )
        u = jnp.moveaxis(u.reshape(heads, -1, gates, width), 0, 2)
        return u.reshape(*x.shape[:-1], gates, self.hidden_dim) + lift(params["b"], x.ndim + 1)

    def step(self, params: Params, h: Array, u: Array) -> Array:
        return self.step_and_jacobian(params, h, u)[0]

    def step_and_jacobian(self, params: Params, h: Array, u: Array) -> tuple[Array, AbstractJacobian]:
        gates = [u[..., i, :] for i in range(self.gates)]
        # To the full shape in one go: the gradient is then one sum over all axes; one an axis is 10x slower on CPU.
        weights = [jnp.broadcast_to(a, gates[0].shape) for name in self.recurrent for a in params[name]]
        if len(self.state_shape) == 1:
            (new,), (d,) = self.channelwise(weights, [h], gates)
            return new, Diagonal(d)
        k = self.state_shape[-1]
        new, entries = self.channelwise(weights, [h[..., i] for i in range(k)], gates)
        return jnp.stack(new, -1), Block.from_entries(k, entries)

    @abstractmethod
    def channelwise(self, weights: list[Array], states: list[Array], u: list[Array]) -> tuple[tuple, tuple]:
        """The cell of one channel, elementwise over arrays of one shape: (new states, entries of df/dh row by row).

        `weights` in the order of `recurrent`, `states` one array a state of a channel, `u` one a gate.
        """

    def block_diagonal(self, params: Params, h: Array, u: Array, k: int = 1) -> tuple[Array, AbstractJacobian]:
        value, J = self.step_and_jacobian(params, h, u)
        return value, restrict(J, self.state_shape, k)


@dataclasses.dataclass(frozen=True)
class ParaGRU(GatedCell):
    """GRU with diagonal recurrent weights, reset inside the candidate; z weights the NEW value.

    z = s(a_z h + u_z);  r = s(a_r h + u_r);  c = tanh(a_c (h r) + u_c);  h' = (1 - z) h + z c
    J = (1 - z) + (c - h) z (1 - z) a_z + z (1 - c^2) a_c (r + h r (1 - r) a_r)        (diagonal)

    States are (..., hidden_dim); params["a"] is (3, hidden_dim) for z, r, c. ParaRNN (arXiv 2510.21450, section 3).
    """

    gates: ClassVar[int] = 3
    recurrent: ClassVar[dict[str, int]] = {"a": 3}

    def channelwise(self, weights: list[Array], states: list[Array], u: list[Array]) -> tuple[tuple, tuple]:
        (a_z, a_r, a_c), (h,), (u_z, u_r, u_c) = weights, states, u
        z = jax.nn.sigmoid(a_z * h + u_z)
        r = jax.nn.sigmoid(a_r * h + u_r)
        c = jnp.tanh(a_c * (h * r) + u_c)
        d = (1 - z) + (c - h) * z * (1 - z) * a_z + z * (1 - c * c) * a_c * (r + h * r * (1 - r) * a_r)
        return ((1 - z) * h + z * c,), (d,)


@dataclasses.dataclass(frozen=True)
class LinearGRU(GatedCell):
    """ParaGRU with a = 0 (its reset gate then has no effect): the linear twin, minGRU-like, a baseline.

    z = s(u_z);  c = tanh(u_c);  h' = (1 - z) h + z c;  J = 1 - z        (diagonal, independent of h)

    Newton solves it in one iteration. It cannot learn parity. minGRU (Feng et al., arXiv 2410.01201) has c = u_c,
    without the tanh. States are (..., hidden_dim).
    """

    gates: ClassVar[int] = 2
    recurrent: ClassVar[dict[str, int]] = {}

    def channelwise(self, weights: list[Array], states: list[Array], u: list[Array]) -> tuple[tuple, tuple]:
        (h,), (u_z, u_c) = states, u
        z = jax.nn.sigmoid(u_z)
        return ((1 - z) * h + z * jnp.tanh(u_c),), (1 - z,)


@dataclasses.dataclass(frozen=True)
class MinLSTM(GatedCell):
    """minLSTM: forget and input gate of the input alone, normalised to sum to 1; linear in the state, a baseline.

    f = s(u_f);  i = s(u_i);  h' = f / (f + i) h + i / (f + i) u_c;  J = f / (f + i)        (diagonal, independent of h)

    Newton solves it in one iteration. States are (..., hidden_dim). Feng et al. (arXiv 2410.01201, section 3.2).
    """

    gates: ClassVar[int] = 3
    recurrent: ClassVar[dict[str, int]] = {}

    def channelwise(self, weights: list[Array], states: list[Array], u: list[Array]) -> tuple[tuple, tuple]:
        (h,), (u_f, u_i, u_c) = states, u
        # f / (f + i) = 1 / (1 + i / f): the sigmoid of log f - log i, which no pair of tiny gates turns into 0 / 0.
        keep = jax.nn.sigmoid(jax.nn.log_sigmoid(u_f) - jax.nn.log_sigmoid(u_i))
        return (keep * h + (1 - keep) * u_c,), (keep,)


@dataclasses.dataclass(frozen=True)
class ParaLSTM(GatedCell):
    """LSTM with coupled gates (CIFG), diagonal recurrent weights and peepholes; the output gate sees the NEW c.

    f = s(a_f h + p_f c + u_f);  z = tanh(a_z h + u_z);  c' = f c + (1 - f) z
    o = s(a_o h + p_o c' + u_o);  h' = o tanh(c')
    Jcc = f + (c - z) f (1 - f) p_f;  Jch = (c - z) f (1 - f) a_f + (1 - f)(1 - z^2) a_z
    Jhc = [tanh(c') o (1 - o) p_o + o (1 - tanh^2 c')] Jcc
    Jhh = tanh(c') o (1 - o)(a_o + p_o Jch) + o (1 - tanh^2 c') Jch        (one 2x2 block a channel)

    States are (..., hidden_dim, 2) with c at [..., 0] and h at [..., 1]; `read` gives h alone. params["a"] is
    (3, hidden_dim) for f, z, o and params["p"] (2, hidden_dim) for f, o. ParaRNN (arXiv 2510.21450, section 3).
    """

    gates: ClassVar[int] = 3
    recurrent: ClassVar[dict[str, int]] = {"a": 3, "p": 2}

    @property
    def state_shape(self) -> tuple[int, ...]:
        return (self.hidden_dim, 2)

    def read(self, h: Float[Array, "*lead hidden_dim 2"]) -> Float[Array, "*lead hidden_dim"]:
        """h of the state (c, h): only h is read out."""
        return h[..., 1]

    def channelwise(self, weights: list[Array], states: list[Array], u: list[Array]) -> tuple[tuple, tuple]:
        (a_f, a_z, a_o, p_f, p_o), (c, h), (u_f, u_z, u_o) = weights, states, u
        f = jax.nn.sigmoid(a_f * h + p_f * c + u_f)
        z = jnp.tanh(a_z * h + u_z)
        c_new = f * c + (1 - f) * z
        o = jax.nn.sigmoid(a_o * h + p_o * c_new + u_o)
        tanh_c = jnp.tanh(c_new)
        forget = (c - z) * f * (1 - f)
        cc = f + forget * p_f
        ch = forget * a_f + (1 - f) * (1 - z * z) * a_z
        gate, through = tanh_c * o * (1 - o), o * (1 - tanh_c * tanh_c)
        hc = (gate * p_o + through) * cc
        hh = gate * (a_o + p_o * ch) + through * ch
        return (c_new, o * tanh_c), (cc, ch, hc, hh)
