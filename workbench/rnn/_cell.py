"""What a cell is: one step of a recurrence h_t = f(h_{t-1}, x_t) whose df/dh has a structure a scan can use."""

from abc import ABC, abstractmethod
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, DTypeLike

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

    def initial(self, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = float) -> Array:
        """The state before the first step: zeros."""
        return jnp.zeros((*batch_shape, *self.state_shape), dtype)

    def read(self, h: Array) -> Array:
        """What the next layer sees of a state: all of it, unless the cell says otherwise."""
        return h

    def time_first(self, x: Any) -> Any:
        """(..., time, input_dim) -> (time, ..., input_dim): the layout of everything inside `solve`."""
        return jnp.moveaxis(x, -2, 0)
