"""The diagonal state-space cell of Mamba2: a linear recurrence whose state is a matrix a head."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray

from workbench.rnn._blocks import restrict
from workbench.rnn._cell import InputCell, check_dimensions, lift
from workbench.rnn._jacobian import AbstractJacobian, Diagonal

Params = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class SSD(InputCell):
    """State-space cell with one scalar decay a head and step ("SSD"), linear in the state: a baseline.

    (v, B, C, dt) = W x;  dt = softplus(dt + dt_bias);  a = exp(-dt exp(log_A));  S' = a S + dt v B^T;  y = S' C

    J = a on every entry of a head's state (diagonal, independent of S); Newton solves it in one iteration. B and C are
    shared by the heads. States are (..., heads, head_dim, state_dim); the read-out y needs the inputs too: `outputs`.
    params: W (input_dim, heads*head_dim + 2*state_dim + heads), dt_bias and log_A (heads).
    Mamba2 (Dao and Gu, arXiv 2405.21060, section 7). Raises ValueError for a dimension below 1.
    """

    input_dim: int
    heads: int
    head_dim: int
    state_dim: int

    def __post_init__(self) -> None:
        check_dimensions(self, "input_dim", "heads", "head_dim", "state_dim")

    @property
    def state_shape(self) -> tuple[int, ...]:
        return (self.heads, self.head_dim, self.state_dim)

    @property
    def hidden_dim(self) -> int:
        """Width of the read-out: heads * head_dim."""
        return self.heads * self.head_dim

    def init(self, key: PRNGKeyArray, dtype: DTypeLike = float) -> Params:
        """Fresh parameters: W uniform in +-1/sqrt(input_dim), dt log-uniform in [0.001, 0.1], A uniform in [1, 16]."""
        W_key, dt_key, A_key = jax.random.split(key, 3)
        width, bound = self.hidden_dim + 2 * self.state_dim + self.heads, 1 / math.sqrt(self.input_dim)
        dt = jnp.exp(jax.random.uniform(dt_key, (self.heads,), dtype, math.log(1e-3), math.log(1e-1)))
        return {
            "W": jax.random.uniform(W_key, (self.input_dim, width), dtype, -bound, bound),
            "dt_bias": jnp.log(jnp.expm1(dt)),  # the inverse of softplus
            "log_A": jnp.log(jax.random.uniform(A_key, (self.heads,), dtype, 1.0, 16.0)),
        }

    def _split(self, params: Params, x: Float[Array, "*lead input_dim"]) -> tuple[Array, Array, Array, Array]:
        """v (..., heads, head_dim), B and C (..., state_dim), dt (..., heads)."""
        ends = (self.hidden_dim, self.hidden_dim + self.state_dim, self.hidden_dim + 2 * self.state_dim)
        v, B, C, dt = jnp.split(jnp.matmul(x, params["W"], precision=jax.lax.Precision.HIGHEST), ends, axis=-1)
        return v.reshape(*x.shape[:-1], self.heads, self.head_dim), B, C, dt

    def project(self, params: Params, x: Float[Array, "*lead input_dim"]) -> tuple[Array, Array, Array]:
        """The decay a (..., heads), the write dt v (..., heads, head_dim) and its key B (..., state_dim)."""
        v, B, _, dt = self._split(params, x)
        dt = jax.nn.softplus(dt + lift(params["dt_bias"], dt.ndim))
        return jnp.exp(-dt * lift(jnp.exp(params["log_A"]), dt.ndim)), dt[..., None] * v, B

    def step(self, params: Params, h: Array, u: tuple[Array, Array, Array]) -> Array:
        a, write, key = u
        return a[..., None, None] * h + write[..., None] * key[..., None, None, :]

    def step_and_jacobian(self, params: Params, h: Array, u: tuple[Array, Array, Array]) -> tuple[Array, Diagonal]:
        return self.step(params, h, u), Diagonal(jnp.broadcast_to(u[0][..., None, None], h.shape))

    def block_diagonal(self, params: Params, h: Array, u: tuple, k: int = 1) -> tuple[Array, AbstractJacobian]:
        value, J = self.step_and_jacobian(params, h, u)
        return value, restrict(J, self.state_shape, k)

    def outputs(
        self, params: Params, states: Float[Array, "*lead heads head_dim state_dim"], x: Float[Array, "*lead input_dim"]
    ) -> Float[Array, "*lead hidden_dim"]:
        """y = S C, with C of the same step: what the next layer sees. `states` and `x` share their leading axes."""
        _, _, C, _ = self._split(params, x)
        y = jnp.matmul(states, C[..., None, :, None], precision=jax.lax.Precision.HIGHEST)[..., 0]
        return y.reshape(*x.shape[:-1], self.hidden_dim)
