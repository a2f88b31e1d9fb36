"""What a cell is: one step of a recurrence h_t = f(h_{t-1}, x_t) whose df/dh has a structure a scan can use."""

import dataclasses
import functools
import math
from abc import ABC, abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, DTypeLike, PRNGKeyArray

from workbench.rnn._blocks import as_jacobian, check_block
from workbench.rnn._jacobian import AbstractJacobian


class AbstractCell(ABC):
    """A recurrence with a structured Jacobian: what `solve` asks of it.

    A cell is frozen and hashable by value (Python numbers only); its parameters are a pytree of arrays that travels
    apart. All methods act on any leading axes at once. To write one, subclass it as a frozen dataclass.
    """

    @property
    @abstractmethod
    def state_shape(self) -> tuple[int, ...]:
        """Shape of one state."""

    @abstractmethod
    def check(self, params: Any, x: Any) -> tuple[tuple[int, ...], int]:
        """Validate parameters and inputs; (batch shape, number of steps). Raises ValueError naming the argument."""

    @abstractmethod
    def project(self, params: Any, x: Any) -> Any:
        """u: everything in f that does not depend on the state, for all times at once."""

    @abstractmethod
    def step(self, params: Any, h: Array, u: Any) -> Array:
        """h' = f(h, u)."""

    @abstractmethod
    def step_and_jacobian(self, params: Any, h: Array, u: Any) -> tuple[Array, AbstractJacobian]:
        """(h', df/dh), sharing the work."""

    def jacobian(self, params: Any, h: Array, u: Any) -> AbstractJacobian:
        """df/dh at (h, u)."""
        return self.step_and_jacobian(params, h, u)[1]

    def block_diagonal(self, params: Any, h: Array, u: Any, k: int = 1) -> tuple[Array, AbstractJacobian]:
        """(h', the k x k blocks on the diagonal of df/dh over the flattened state); df/dh itself is never formed.

        A `Diagonal` for k = 1, else a `Block`. Here by one push-forward an entry of the state, one after the other:
        T * D * k numbers. A cell that knows better overrides it. Raises ValueError unless k divides the state's size.
        """
        size, lead = math.prod(self.state_shape), h.shape[: h.ndim - len(self.state_shape)]
        check_block(k, size)
        value, push = jax.linearize(lambda h: self.step(params, h, u), h)

        def column(i: Array) -> Array:
            v = jnp.zeros(size, h.dtype).at[i].set(1).reshape(self.state_shape)
            pushed = push(jnp.broadcast_to(v.reshape((1,) * len(lead) + v.shape), h.shape))
            return lax.dynamic_index_in_dim(pushed.reshape(*lead, size // k, k), i // k, len(lead), keepdims=False)

        columns = lax.map(column, jnp.arange(size)).reshape(size // k, k, *lead, k)
        return value, as_jacobian(jnp.moveaxis(columns, (0, 1), (-3, -1)), self.state_shape)

    def connected(self, u: Any) -> Array | None:
        """Where a step depends on the state before it, (...,) bool; None: everywhere (all cells but a masked one)."""
        return None

    def initial(self, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = float) -> Array:
        """The state before the first step: zeros."""
        return jnp.zeros((*batch_shape, *self.state_shape), dtype)

    def read(self, h: Array) -> Array:
        """What the next layer sees of a state: all of it, unless the cell says otherwise."""
        return h

    def pack(self, states: Any) -> Array:
        """States as the one array (..., *state) that solvers work on; `unpack` gives back the user's form."""
        return states

    def unpack(self, states: Array) -> Any:
        """States in the user's form: the array itself (for a plain function on a pytree, that pytree)."""
        return states

    def time_first(self, x: Any) -> Any:
        """(..., time, input_dim) -> (time, ..., input_dim): the layout of everything inside `solve`."""
        return jnp.moveaxis(x, -2, 0)


@dataclasses.dataclass(frozen=True)
class InputCell(AbstractCell):
    """A cell on one input array (..., time, input_dim), with parameters in the dict that its `init` makes."""

    input_dim: int

    @abstractmethod
    def init(self, key: PRNGKeyArray, dtype: DTypeLike = float) -> dict[str, Array]:
        """Fresh parameters."""

    def check(self, params: dict[str, Array], x: Array) -> tuple[tuple[int, ...], int]:
        expected = _expected_shapes(self)
        if not isinstance(params, dict) or set(params) != set(expected):
            found = sorted(params) if isinstance(params, dict) else type(params).__name__
            raise ValueError(f"params: {found}, must be a dict with the keys {sorted(expected)}")
        for name, shape in expected.items():
            if jnp.shape(params[name]) != shape:
                raise ValueError(f"params[{name!r}]: shape {jnp.shape(params[name])}, must be {shape}")
        if x.ndim < 2 or x.shape[-1] != self.input_dim:
            raise ValueError(f"x: shape {x.shape}, must be (..., time, {self.input_dim}): input_dim is the last axis")
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(f"x: dtype {x.dtype}, must be real floating point")
        return x.shape[:-2], x.shape[-2]


def check_dimensions(cell: Any, *names: str) -> None:
    """Raise ValueError unless each of these fields is an integer of at least 1."""
    for name in names:
        value = getattr(cell, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}: {value!r}, must be an integer of at least 1")


def lift(a: Array, ndim: int) -> Array:
    """Leading axes of length 1, so that nothing relies on implicit rank promotion."""
    return a.reshape((1,) * (ndim - a.ndim) + a.shape)


@functools.lru_cache(maxsize=256)
def _expected_shapes(cell: InputCell) -> dict[str, tuple[int, ...]]:
    return {name: a.shape for name, a in jax.eval_shape(cell.init, jax.random.key(0)).items()}
