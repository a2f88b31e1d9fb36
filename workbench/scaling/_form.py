"""What a form of law is: names of parameters, where a search for them starts, and the loss that they predict."""

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array

SMALLEST = 1e-8
"""Lower bound of every parameter, where a size is counted in billions (ParScale's released fit)."""

Column = Any
"""N or P of every run: a float array (n,) or a number."""


class AbstractForm(ABC):
    """A law L(N, P) with unknown parameters; frozen and hashable by value.

    `names` of the parameters; `starts`, the values of each from which the search begins (their product is the grid);
    `lower`, its lower bound each, -inf for a parameter that may be negative. `uses_streams`: the loss depends on P.
    """

    names: ClassVar[tuple[str, ...]]
    starts: ClassVar[tuple[tuple[float, ...], ...]]
    lower: ClassVar[tuple[float, ...]]
    uses_streams: ClassVar[bool] = True

    @abstractmethod
    def loss(self, params: Mapping[str, Any], N: Column, P: Column) -> Array:
        """The loss, nats a token, of models with N parameters and P streams; jax.numpy alone, differentiable."""

    def equivalent_parameters(self, params: Mapping[str, Any], N: Column, P: Column) -> Array:
        """The size whose loss with one stream is that of N parameters with P streams."""
        raise ValueError(f"form: {self!r} does not say which size P streams are worth")

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


@dataclasses.dataclass(frozen=True, repr=False)
class CustomLaw(AbstractForm):
    """Your own law: L = `fn`(params, N, P), params a dict by name, N and P float64 arrays, written in jax.numpy.

    N counts single parameters, as everywhere; divide it inside `fn` if that suits your constants. `starts`: values to
    begin from, a sequence for each of `names`, or a mapping by name. `lower`: the bound of each, 1e-8 where it is left
    out; -inf for a parameter of either sign. A bounded parameter is searched by its logarithm, so its unit is free.

    Hashed by `fn` itself: a lambda that is made anew compiles anew. Raises ValueError naming the argument.
    """

    fn: Callable[[dict[str, Any], Array, Array], Array]
    names: tuple[str, ...]  # ty: ignore[incompatible-attribute-override]  of the object here, of the class elsewhere
    starts: Any  # ty: ignore[incompatible-attribute-override]
    lower: Any = None  # ty: ignore[incompatible-attribute-override]

    uses_streams: ClassVar[bool] = False  # not known: `fn` may leave them out

    def __post_init__(self) -> None:
        if not callable(self.fn):
            raise ValueError(f"fn: {self.fn!r}, must be a function of (params, N, P)")  # noqa: TRY004
        names = tuple(self.names)
        if not names or isinstance(self.names, str) or len(set(names)) != len(names):
            raise ValueError(f"names: {self.names!r}, must be different names, one at least")
        lower = (SMALLEST,) * len(names) if self.lower is None else _each("lower", self.lower, names)
        given = _each("starts", self.starts, names)
        starts = tuple(_numbers(name, values) for name, values in zip(names, given, strict=True))
        for name, values, bound in zip(names, starts, lower, strict=True):
            if not values or min(values) < min(bound, 0.0):
                raise ValueError(f"starts: {values} for {name!r}, must be one number at least, none below {bound}")
        for field, value in (("names", names), ("starts", starts), ("lower", tuple(float(bound) for bound in lower))):
            object.__setattr__(self, field, value)

    def loss(self, params: Mapping[str, Any], N: Column, P: Column) -> Array:
        return self.fn(dict(params), jnp.asarray(N), jnp.asarray(P))

    def __repr__(self) -> str:
        return f"CustomLaw({getattr(self.fn, '__name__', 'fn')}: {', '.join(self.names)})"


def _each(argument: str, values: Mapping[str, Any] | Sequence[Any], names: tuple[str, ...]) -> tuple[Any, ...]:
    """`values` in the order of `names`."""
    if isinstance(values, Mapping):
        if set(values) != set(names):
            raise ValueError(f"{argument}: for {sorted(values)}, must be for {sorted(names)}")
        return tuple(values[name] for name in names)
    if len(values) != len(names):
        raise ValueError(f"{argument}: {len(values)} entries, must be one for each of {list(names)}")
    return tuple(values)


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if not all(math.isfinite(value) for value in numbers):
        raise ValueError(f"starts: {numbers} for {name!r}, must be finite")
    return numbers
