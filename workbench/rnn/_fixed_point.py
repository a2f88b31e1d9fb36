"""Newton's iteration with less than the Jacobian: Jacobi (none of it), Picard (the identity), QuasiNewton (blocks).

All have Newton's fixed point, converge linearly instead of quadratically, and never hold a dense Jacobian. Their
gradients are exact none the less: those are taken at the solution, with the whole Jacobian.
"""

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array

from workbench.rnn._jacobian import AbstractJacobian, Diagonal
from workbench.rnn._solver import NewtonLike, check_integer
from workbench.rnn._system import System

LINEAR_PATIENCE = 10
"""Linear iterations are exact only when what they left out has travelled along time; until then they may well rise."""


@dataclasses.dataclass(frozen=True)
class Jacobi(NewtonLike):
    """h_t <- f(h_{t-1}, x_t), all t at once: A = 0, so that no scan is needed at all.

    The error shrinks like |J|^k in the number k of iterations, with no help from parallelism: k = T in the worst case.
    `damping`, `steps`, `patience` as for `Newton`; raises ValueError as it does.
    """

    damping: float = 1.0
    steps: int | None = None
    patience: int | None = LINEAR_PATIENCE

    def evaluate(self, system: System, states: Array) -> tuple[Array, None]:
        return system.residuals(states), None


@dataclasses.dataclass(frozen=True)
class Picard(NewtonLike):
    """h_t <- h_0 + sum_{s<=t} (f(h_{s-1}, x_s) - h_{s-1}): A = I, the discrete form of Picard's iteration for ODEs.

    Good where a step changes little (J near I), as in a finely discretised ODE; where steps contract strongly it rises
    like a binomial before it falls. `damping`, `steps`, `patience` as for `Newton`; raises ValueError as it does.
    """

    damping: float = 1.0
    steps: int | None = None
    patience: int | None = LINEAR_PATIENCE

    def evaluate(self, system: System, states: Array) -> tuple[Array, Diagonal]:
        residuals = system.residuals(states)
        return residuals, Diagonal(jnp.ones_like(residuals))


@dataclasses.dataclass(frozen=True)
class QuasiNewton(NewtonLike):
    """Newton with the diagonal of J, or blocks on its diagonal, in place of a dense J (quasi-DEER).

    A_t = (1 - shrink) diag(J_t), or blocks of k x k ("block"; k is the last axis of the state unless `block` gives it),
    cut to [-1, 1] entry by entry with `clip`. It takes T * D (T * D * k) numbers where Newton takes T * D^2, and a scan
    that costs as little. For a cell whose J has that structure anyway it is Newton. `damping`, `steps`, `patience` as
    for `Newton`. Gonzalez et al. (arXiv 2407.19115, section 4.1).

    Raises ValueError for a structure that is neither, 0 <= shrink < 1 not held, a block that does not fit the state,
    and as `Newton` does.
    """

    structure: Literal["diagonal", "block"] = "diagonal"
    block: int | None = None
    shrink: float = 0.0
    clip: bool = False
    damping: float = 1.0
    steps: int | None = None
    patience: int | None = LINEAR_PATIENCE

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.structure not in ("diagonal", "block"):
            raise ValueError(f"structure: {self.structure!r}, must be 'diagonal' or 'block'")
        if self.block is not None:
            check_integer("block", self.block, 1, "None or ")
            if self.structure == "diagonal":
                raise ValueError(f"block: {self.block}, must be None with structure 'diagonal'")
        if not 0 <= self.shrink < 1:
            raise ValueError(f"shrink: {self.shrink!r}, must be in [0, 1)")

    def evaluate(self, system: System, states: Array) -> tuple[Array, AbstractJacobian]:
        k = self._block_size(system.cell.state_shape)
        values, A = system.cell.block_diagonal(system.params, system.shift(states), system.inputs, k)

        def tame(a: Array) -> Array:
            a = jnp.asarray(1 - self.shrink, a.dtype) * a if self.shrink else a
            return jnp.clip(a, -1, 1) if self.clip else a

        return values - states, jax.tree.map(tame, A)

    def _block_size(self, shape: tuple[int, ...]) -> int:
        if self.structure == "diagonal":
            return 1
        if self.block is None and len(shape) < 2:
            raise ValueError(f"block: None, must be given for a state of shape {shape}; it divides {math.prod(shape)}")
        k = self.block or shape[-1]
        if math.prod(shape) % k:
            raise ValueError(f"block: {k}, must divide the size of the state, {math.prod(shape)}")
        return k
