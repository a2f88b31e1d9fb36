"""The classical cells with a full recurrent matrix, in torch's conventions: RNN, GRU and LSTM.

Their df/dh is dense: T * D^2 numbers for T steps. It is written out in closed form as diag(d) + sum_g diag(a_g) W_g, so
that its diagonal, or its diagonal blocks, cost no more than they hold. `heads` makes the recurrent matrices
block-diagonal, and with them df/dh.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray

from workbench.rnn._blocks import (
    MEMORY_LIMIT_BYTES,
    as_jacobian,
    check_block,
    check_limit,
    diagonal_blocks,
    refuse_large,
)
from workbench.rnn._cell import InputCell, check_dimensions, lift
from workbench.rnn._jacobian import AbstractJacobian, Diagonal

Params = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class DenseCell(InputCell):
    """What the dense cells share: torch's parameters, their initialisation, the projection, the memory limit.

    params: weight_ih (gates * hidden_dim, input_dim), weight_hh (gates * hidden_dim, hidden_dim / heads), bias_ih and
    bias_hh (gates * hidden_dim), gates in torch's order. Row i of a gate in weight_hh belongs to head
    i // (hidden_dim / heads) and sees that head's state only; with one head the layout is torch's.
    Jacobians of all steps above `memory_limit_bytes` are refused before they are allocated.

    Raises ValueError for a dimension below 1, a hidden_dim that `heads` does not divide, or a limit of 0.
    """

    input_dim: int
    hidden_dim: int
    heads: int = 1
    memory_limit_bytes: int = dataclasses.field(default=MEMORY_LIMIT_BYTES, repr=False)

    gates: ClassVar[int]

    def __post_init__(self) -> None:
        check_dimensions(self, "input_dim", "hidden_dim", "heads")
        if self.hidden_dim % self.heads:
            raise ValueError(f"hidden_dim: {self.hidden_dim}, must be a multiple of heads = {self.heads}")
        check_limit(self.memory_limit_bytes)

    @property
    def state_shape(self) -> tuple[int, ...]:
        return (self.hidden_dim,)

    @property
    def head_dim(self) -> int:
        """Channels of one head."""
        return self.hidden_dim // self.heads

    @classmethod
    def from_torch(cls, state_dict: Mapping[str, Any], layer: int = 0, **options: Any) -> tuple[Self, Params]:
        """(cell, params) from a torch module's `state_dict()`, or a mapping of the same names to NumPy arrays.

        A module without biases gets zeros. `options` go to the constructor. Raises ValueError for a layer that is not
        there, another cell's weights, or a projected state (proj_size).
        """
        found = {
            name: np.asarray(state_dict[f"{name}_l{layer}"])
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            if f"{name}_l{layer}" in state_dict
        }
        if f"weight_hr_l{layer}" in state_dict or not {"weight_ih", "weight_hh"} <= set(found):
            names = sorted(state_dict)
            raise ValueError(
                f"state_dict: {names}, must hold weight_ih_l{layer} and weight_hh_l{layer}, and no weight_hr"
            )
        rows, input_dim = found["weight_ih"].shape
        if rows % cls.gates or found["weight_hh"].shape != (rows, rows // cls.gates):
            shapes = {name: a.shape for name, a in found.items()}
            raise ValueError(f"state_dict: {shapes}, must be the {cls.gates} gates of {cls.__name__}, rows first")
        zeros = np.zeros(rows, found["weight_ih"].dtype)
        params = {"bias_ih": zeros, "bias_hh": zeros} | found
        return cls(input_dim, rows // cls.gates, **options), {name: jnp.asarray(a) for name, a in params.items()}

    def init(self, key: PRNGKeyArray, dtype: DTypeLike = float) -> Params:
        """Fresh parameters, all uniform in +-1/sqrt(hidden_dim) as in torch."""
        rows, bound = self.gates * self.hidden_dim, 1 / math.sqrt(self.hidden_dim)
        shapes = {
            "weight_ih": (rows, self.input_dim),
            "weight_hh": (rows, self.head_dim),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
        }
        keys = jax.random.split(key, len(shapes))
        draw = lambda k, shape: jax.random.uniform(k, shape, dtype, -bound, bound)
        return {name: draw(k, shape) for k, (name, shape) in zip(keys, shapes.items(), strict=True)}

    def project(self, params: Params, x: Float[Array, "*lead input_dim"]) -> Float[Array, "*lead gates hidden_dim"]:
        """u = W_ih x + b_ih, and b_hh where it is not inside a product with a gate."""
        u = jnp.matmul(x, params["weight_ih"].T, precision=jax.lax.Precision.HIGHEST)
        bias = params["bias_ih"] + self._outer_bias(params["bias_hh"])
        return (u + lift(bias, x.ndim)).reshape(*x.shape[:-1], self.gates, self.hidden_dim)

    def _outer_bias(self, bias: Array) -> Array:
        """The part of b_hh that is added to W_ih x for all times at once."""
        return bias

    def step_and_jacobian(self, params: Params, h: Array, u: Array) -> tuple[Array, AbstractJacobian]:
        return self.block_diagonal(params, h, u, math.prod(self.state_shape) // self.heads)

    def _recurrent(self, params: Params) -> Float[Array, "gates heads head_dim head_dim"]:
        return params["weight_hh"].reshape(self.gates, self.heads, self.head_dim, self.head_dim)

    def _matmul(self, params: Params, h: Float[Array, "*lead hidden_dim"]) -> Float[Array, "*lead gates hidden_dim"]:
        """W_hh h, head by head."""
        by_head = h.reshape(*h.shape[:-1], self.heads, self.head_dim)
        out = jnp.einsum("...hj,ghij->...ghi", by_head, self._recurrent(params), precision=jax.lax.Precision.HIGHEST)
        return out.reshape(*h.shape[:-1], self.gates, self.hidden_dim)

    def _blocks(self, params: Params, a: list[Array], d: Array | None, k: int) -> Float[Array, "*lead groups k k"]:
        """The k x k diagonal blocks of diag(d) + sum_g diag(a_g) W_g; a_g and d are (*lead, hidden_dim)."""
        rows = lambda v: v.reshape(*v.shape[:-1], self.hidden_dim // k, k)
        W = diagonal_blocks(self._recurrent(params), k)
        m = sum(rows(a_g)[..., None] * lift(W_g, a_g.ndim + 2) for a_g, W_g in zip(a, W, strict=True))
        return m if d is None else m + rows(d)[..., None] * lift(jnp.eye(k, dtype=d.dtype), d.ndim + 2)

    def _refuse(self, h: Array, k: int) -> None:
        size = math.prod(self.state_shape)
        check_block(k, size)
        lead = h.shape[: h.ndim - len(self.state_shape)]
        refuse_large("dense", lead, (size // k, k), h.dtype, self.memory_limit_bytes)


@dataclasses.dataclass(frozen=True)
class RNN(DenseCell):
    """The Elman network of torch.nn.RNN.

    h' = g(W_ih x + b_ih + W_hh h + b_hh), g = tanh or relu;  J = diag(g') W_hh

    States are (..., hidden_dim). `memory_limit_bytes`, `heads` and parameters: see `DenseCell`.
    """

    nonlinearity: Literal["tanh", "relu"] = "tanh"

    gates: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"nonlinearity: {self.nonlinearity!r}, must be 'tanh' or 'relu'")

    def step(self, params: Params, h: Array, u: Array) -> Array:
        before = (self._matmul(params, h) + u)[..., 0, :]
        return jnp.tanh(before) if self.nonlinearity == "tanh" else jax.nn.relu(before)

    def block_diagonal(self, params: Params, h: Array, u: Array, k: int = 1) -> tuple[Array, AbstractJacobian]:
        self._refuse(h, k)
        new = self.step(params, h, u)
        slope = 1 - new * new if self.nonlinearity == "tanh" else (new > 0).astype(new.dtype)
        return new, as_jacobian(self._blocks(params, [slope], None, k), self.state_shape)


@dataclasses.dataclass(frozen=True)
class GRU(DenseCell):
    """The gated recurrent unit of torch.nn.GRU: reset after the matrix product, z weights the OLD state.

    With U_r, U_z, U_n the rows of W_hh and b_r, b_z, b_n those of b_hh:
    r = s(u_r + U_r h + b_r);  z = s(u_z + U_z h + b_z);  v = U_n h + b_n;  n = tanh(u_n + r v);  h' = (1 - z) n + z h
    J = diag(z) + diag((1 - z)(1 - n^2)) [diag(v r (1 - r)) U_r + diag(r) U_n] + diag((h - n) z (1 - z)) U_z

    States are (..., hidden_dim); gates in the order r, z, n. `heads`, parameters: see `DenseCell`.
    """

    gates: ClassVar[int] = 3

    def _outer_bias(self, bias: Array) -> Array:
        return bias.at[2 * self.hidden_dim :].set(0)

    def _gates(self, params: Params, h: Array, u: Array) -> tuple[Array, Array, Array, Array]:
        w = self._matmul(params, h)
        r, z = (jax.nn.sigmoid(w[..., i, :] + u[..., i, :]) for i in (0, 1))
        v = w[..., 2, :] + lift(params["bias_hh"][2 * self.hidden_dim :], h.ndim)
        return r, z, v, jnp.tanh(u[..., 2, :] + r * v)

    def step(self, params: Params, h: Array, u: Array) -> Array:
        _, z, _, n = self._gates(params, h, u)
        return (1 - z) * n + z * h

    def block_diagonal(self, params: Params, h: Array, u: Array, k: int = 1) -> tuple[Array, AbstractJacobian]:
        self._refuse(h, k)
        r, z, v, n = self._gates(params, h, u)
        through = (1 - z) * (1 - n * n)
        a = [through * v * r * (1 - r), (h - n) * z * (1 - z), through * r]
        return (1 - z) * n + z * h, as_jacobian(self._blocks(params, a, z, k), self.state_shape)


@dataclasses.dataclass(frozen=True)
class LSTM(DenseCell):
    """The long short-term memory of torch.nn.LSTM.

    i, f, o = s(u + W_hh h + b_hh);  g = tanh(u_g + U_g h + b_g);  c' = f c + i g;  h' = o tanh(c')
    Jcc = diag(f);  Jch = diag(g i (1 - i)) U_i + diag(c f (1 - f)) U_f + diag(i (1 - g^2)) U_g
    Jhc = diag(o (1 - tanh^2 c')) Jcc;  Jhh = diag(o (1 - tanh^2 c')) Jch + diag(tanh(c') o (1 - o)) U_o

    States are (..., hidden_dim, 2) with c at [..., 0] and h at [..., 1], as for `ParaLSTM`; `read` gives h alone. Gates
    in the order i, f, g, o. Blocks smaller than a head's are 1 x 1 or whole channels. `heads`, parameters: `DenseCell`.
    """

    gates: ClassVar[int] = 4

    @property
    def state_shape(self) -> tuple[int, ...]:
        return (self.hidden_dim, 2)

    def read(self, h: Float[Array, "*lead hidden_dim 2"]) -> Float[Array, "*lead hidden_dim"]:
        """h of the state (c, h): only h is read out."""
        return h[..., 1]

    def _gates(self, params: Params, state: Array, u: Array) -> tuple[Array, ...]:
        w = self._matmul(params, state[..., 1]) + u
        i, f, o = (jax.nn.sigmoid(w[..., j, :]) for j in (0, 1, 3))
        g = jnp.tanh(w[..., 2, :])
        return i, f, g, o, f * state[..., 0] + i * g

    def step(self, params: Params, h: Array, u: Array) -> Array:
        *_, o, c = self._gates(params, h, u)
        return jnp.stack([c, o * jnp.tanh(c)], -1)

    def block_diagonal(self, params: Params, h: Array, u: Array, k: int = 1) -> tuple[Array, AbstractJacobian]:
        self._refuse(h, k)
        if k > 1 and k % 2:
            raise ValueError(f"k: {k}, must be 1 or even: a channel is the pair (c, h)")
        i, f, g, o, c = self._gates(params, h, u)
        tanh_c = jnp.tanh(c)
        through = o * (1 - tanh_c * tanh_c)
        into_c = [g * i * (1 - i), h[..., 0] * f * (1 - f), i * (1 - g * g), jnp.zeros_like(o)]
        into_h = [through * a for a in into_c[:3]] + [tanh_c * o * (1 - o)]
        channels = max(k // 2, 1)
        cross = [self._blocks(params, a, None, channels) for a in (into_c, into_h)]
        # Diagonal quarters: how c' and h' depend on c of their own channel.
        eye = lift(jnp.eye(channels, dtype=f.dtype), f.ndim + 2)
        own = [v.reshape(cross[0].shape[:-1])[..., None] * eye for v in (f, through * f)]
        new = jnp.stack([c, o * tanh_c], -1)
        if k == 1:
            return new, Diagonal(jnp.stack([own[0][..., 0, 0], cross[1][..., 0, 0]], -1))
        # (..., group, i, c' or h', j, c or h): rows and columns interleave the pair as the flattened state does.
        m = jnp.stack([jnp.stack([own[a], cross[a]], -1) for a in (0, 1)], -3)
        return new, as_jacobian(m.reshape(*m.shape[:-4], k, k), self.state_shape)
