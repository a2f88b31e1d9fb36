"""The forms that people have fitted to losses over size and parallel streams.

A size A is a number of parameters; a prefactor A is the excess loss, nats, of 10^9 parameters. Written with exp and log
instead of powers: the same numbers, and half the time of a gradient.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from workbench.scaling._form import SMALLEST, AbstractForm, Column

BILLION = 1e9

_E = tuple(math.exp(x) for x in (-1.0, -0.5, 0.0))
_SIZE = tuple(BILLION * math.exp(x) for x in (-4.0, -2.0, 0.0, 2.0, 4.0))
_SHARE = (0.2, 0.4, 0.6, 0.8)
_EXCESS = tuple(math.exp(x) for x in (-4.0, -3.0, -2.0, -1.0, 0.0))
_EXPONENT = (0.0, 0.5, 1.0, 1.5, 2.0)
_SLOPE = (0.05, 0.1, 0.2, 0.4, 0.8)


@dataclasses.dataclass(frozen=True, repr=False)
class ChinchillaLaw(AbstractForm):
    """L = E + (A / N)^alpha: size alone, streams ignored.

    A in parameters. Source: Hoffmann et al. 2022 (arXiv 2203.15556), approach 3, at a fixed number of tokens.
    """

    names = ("E", "A", "alpha")
    starts = (_E, _SIZE, _EXPONENT)
    lower = (SMALLEST, SMALLEST * BILLION, SMALLEST)
    uses_streams = False

    def loss(self, params: Mapping[str, Any], N: Column, P: Column) -> Array:
        return params["E"] + jnp.exp(params["alpha"] * (jnp.log(params["A"]) - jnp.log(N))) + 0 * P

    def equivalent_parameters(self, params: Mapping[str, Any], N: Column, P: Column) -> Array:
        return N + 0 * P


@dataclasses.dataclass(frozen=True, repr=False)
class ParScaleLaw(AbstractForm):
    """L = E + (A / (N (k ln P + 1)))^alpha: P streams are worth a factor 1 + k ln P in size.

    A in parameters. Source: ParScale (arXiv 2505.10475), figure 2; the grid of starts is that of its released fit.
    """

    names = ("E", "A", "alpha", "k")
    starts = (_E, _SIZE, _EXPONENT, _SHARE)
    lower = (SMALLEST, SMALLEST * BILLION, SMALLEST, SMALLEST)

    def loss(self, params: Mapping[str, Any], N: Column, P: Column) -> Array:
        size = jnp.log(N) + jnp.log1p(params["k"] * jnp.log(P))
        return params["E"] + jnp.exp(params["alpha"] * (jnp.log(params["A"]) - size))

    def equivalent_parameters(self, params: Mapping[str, Any], N: Column, P: Column) -> Array:
        return N * (1 + params["k"] * jnp.log(P))


@dataclasses.dataclass(frozen=True, repr=False)
class PowerProductLaw(AbstractForm):
    """L = E + A (N / 10^9)^-a P^-b: streams act as a power of their own, worth P^(b / a) in size.

    A in nats. Source: a form that others fitted to ParScale's losses (leaderboard of scaling laws found by search).
    """

    names = ("E", "A", "a", "b")
    starts = (_E, _EXCESS, _SLOPE, (0.02, 0.05, 0.1, 0.2))
    lower = (SMALLEST,) * 4

    def loss(self, params: Mapping[str, Any], N: Column, P: Column) -> Array:
        powers = params["a"] * jnp.log(N / BILLION) + params["b"] * jnp.log(P)
        return params["E"] + params["A"] * jnp.exp(-powers)

    def equivalent_parameters(self, params: Mapping[str, Any], N: Column, P: Column) -> Array:
        return N * jnp.exp(params["b"] / params["a"] * jnp.log(P))


@dataclasses.dataclass(frozen=True, repr=False)
class InverseRootLaw(AbstractForm):
    """L = E + A (N / 10^9)^-a + G P^-1/2: streams take off the same loss at every size.

    A and G in nats; E is the loss of infinite size with infinitely many streams. Source: a form that others fitted to
    ParScale's losses (leaderboard of scaling laws found by search).
    """

    names = ("E", "A", "a", "G")
    starts = (_E, _EXCESS, _SLOPE, tuple(math.exp(x) for x in (-4.0, -3.0, -2.0, -1.0)))
    lower = (SMALLEST,) * 4

    def loss(self, params: Mapping[str, Any], N: Column, P: Column) -> Array:
        return params["E"] + self._size_term(params, N) + params["G"] / jnp.sqrt(P)

    def equivalent_parameters(self, params: Mapping[str, Any], N: Column, P: Column) -> Array:
        """Infinite where no size reaches with one stream what P streams do."""
        left = self._size_term(params, N) - params["G"] * (1 - 1 / jnp.sqrt(P))
        size = jnp.exp((jnp.log(params["A"]) - jnp.log(jnp.maximum(left, 1e-300))) / params["a"])
        return BILLION * jnp.where(left > 0, size, jnp.inf)

    def _size_term(self, params: Mapping[str, Any], N: Column) -> Array:
        return params["A"] * jnp.exp(-params["a"] * jnp.log(N / BILLION))


@dataclasses.dataclass(frozen=True, repr=False)
class TheoryLaw(AbstractForm):
    """L = E + (A / N)^alpha (1 + (P - 1) rho) / P: the mean of P predictions whose errors are correlated by rho.

    rho = 1 gains nothing, rho = 0 divides the excess loss by P. A in parameters. Source: ParScale (arXiv 2505.10475),
    the theory that its empirical law replaces.
    """

    names = ("E", "A", "alpha", "rho")
    starts = (_E, _SIZE, _EXPONENT, _SHARE)
    lower = (SMALLEST, SMALLEST * BILLION, SMALLEST, SMALLEST)

    def loss(self, params: Mapping[str, Any], N: Column, P: Column) -> Array:
        excess = jnp.exp(params["alpha"] * (jnp.log(params["A"]) - jnp.log(N)))
        return params["E"] + excess * self._left(params, P)

    def equivalent_parameters(self, params: Mapping[str, Any], N: Column, P: Column) -> Array:
        return N * jnp.exp(-jnp.log(self._left(params, P)) / params["alpha"])

    def _left(self, params: Mapping[str, Any], P: Column) -> Array:
        """The share of the excess loss that P streams leave."""
        return (1 + (P - 1) * params["rho"]) / P


FORMS: tuple[AbstractForm, ...] = (ChinchillaLaw(), ParScaleLaw(), PowerProductLaw(), InverseRootLaw(), TheoryLaw())
"""Every form of the room, one of each."""
