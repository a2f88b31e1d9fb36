"""The interface of a solver; Sequential, which everything is held against; and Newton, whose shape others share."""

import dataclasses
import enum
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from workbench.rnn._jacobian import AbstractJacobian
from workbench.rnn._scan import AbstractScan, affine_scan
from workbench.rnn._system import System


class Iterate(NamedTuple):
    """Where a solver stands. `states` is its unknown, whatever leads in place of time; `carry` is the solver's own.

    The leaves of both are (anything, *batch, ...), so that the driver can freeze the sequences that are finished.
    """

    states: Float[Array, "time ..."]
    residual: Float[Array, "*batch"]
    carry: Any


class Code(enum.IntEnum):
    """How a sequence ended."""

    CONVERGED = 0
    MAX_STEPS = 1
    NONFINITE = 2
    DIVERGED = 3


class Record(NamedTuple):
    """What a solve says about itself, a sequence each."""

    code: Int[Array, "*batch"]
    iterations: Int[Array, "*batch"]
    residual: Float[Array, "*batch"]
    history: Float[Array, "*batch iterates"]


PATIENCE = 3
"""A residual that rises this many iterations in a row is taken for divergence, unless the solver says otherwise."""


class AbstractSolver(ABC):
    """A way to solve r(h) = 0; frozen and hashable by value. `solve` owns the loop and the status.

    `terminate` decides when a sequence is done. A field `adjoint` = "bptt" has the result differentiated through the
    solver; without it, or with "implicit", at the solution.
    """

    direct: ClassVar[bool] = False
    """True if `init` already gives the answer, so that there is nothing to iterate."""

    @property
    def fixed_steps(self) -> int | None:
        """The number of iterations if it is fixed in advance (no early stop), else None."""
        return None

    @abstractmethod
    def init(self, system: System, guess: Float[Array, "time ..."], scan: AbstractScan) -> Iterate:
        """Iteration 0: the guess and its residual."""

    @abstractmethod
    def step(self, system: System, iterate: Iterate, scan: AbstractScan) -> Iterate:
        """One iteration."""

    def terminate(self, iterate: Iterate, growth: Array, tolerance: Float[Array, "*batch"]) -> tuple[Array, Array]:
        """(converged, diverged), a sequence each; `growth` counts the iterations in a row that raised the residual."""
        return iterate.residual <= tolerance, growth >= PATIENCE

    def finish(self, system: System, iterate: Iterate) -> Float[Array, "time ..."]:
        """The states at all times, for a solver whose unknowns are fewer."""
        return iterate.states

    def conclude(
        self, system: System, states: Float[Array, "time ..."], record: Record
    ) -> tuple[Float[Array, "time ..."], Record]:
        """What is returned: a solver that knows another way to the states takes it here where its own did not end."""
        return states, record


@dataclasses.dataclass(frozen=True)
class Sequential(AbstractSolver):
    """One step after the other (`lax.scan`): the reference, exact after 0 iterations.

    `adjoint`: "implicit" (gradients by one reversed linear scan at the solution, as for every solver; stores the states
    only) or "bptt" (differentiate through the loop; stores every intermediate). Raises ValueError for another adjoint.
    """

    adjoint: Literal["implicit", "bptt"] = "implicit"

    direct: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.adjoint not in ("implicit", "bptt"):
            raise ValueError(f"adjoint: {self.adjoint!r}, must be 'implicit' or 'bptt'")

    def init(self, system: System, guess: Array, scan: AbstractScan) -> Iterate:
        states = system.rollout()
        # The equations hold by construction: 0, or nan where a state is not finite.
        return Iterate(states, 0 * system.norm(states), None)

    def step(self, system: System, iterate: Iterate, scan: AbstractScan) -> Iterate:
        return iterate


class IterativeSolver(AbstractSolver):
    """A solver whose subclasses have the options of every iteration as fields: `steps`, exactly so many; `patience`."""

    def __post_init__(self) -> None:
        for name in ("steps", "patience"):
            value = getattr(self, name, None)
            if value is not None:
                check_integer(name, value, 1, "None or ")

    @property
    def fixed_steps(self) -> int | None:
        return getattr(self, "steps", None)

    def terminate(self, iterate: Iterate, growth: Array, tolerance: Array) -> tuple[Array, Array]:
        converged, diverged = super().terminate(iterate, growth, tolerance)
        patience = getattr(self, "patience", PATIENCE)
        return converged, jnp.zeros_like(diverged) if patience is None else growth >= patience


class NewtonLike(IterativeSolver):
    """delta_t = A_t delta_{t-1} + r_t, delta_0 = 0;  h <- h + damping * delta: Newton's iteration, or with another A.

    The fixed point is the same for every A, and the first k states are exact after k iterations if damping = 1; the
    nearer A is to the Jacobian, the fewer iterations. `Iterate.carry` is (residuals, A). `damping` is a field of the
    subclass.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        damping = getattr(self, "damping", 1.0)
        if not 0 < damping <= 1:
            raise ValueError(f"damping: {damping!r}, must be in (0, 1]")

    @abstractmethod
    def evaluate(self, system: System, states: Array) -> tuple[Array, AbstractJacobian | None]:
        """Residuals and the A of the next iteration at all times; None stands for A = 0."""

    def init(self, system: System, guess: Array, scan: AbstractScan) -> Iterate:
        residuals, A = self.evaluate(system, guess)
        return Iterate(guess, system.norm(residuals), (residuals, A))

    def step(self, system: System, iterate: Iterate, scan: AbstractScan) -> Iterate:
        residuals, A = iterate.carry
        delta = residuals if A is None else affine_scan(A, residuals, backend=scan)
        return self.init(system, iterate.states + jnp.asarray(getattr(self, "damping", 1.0), delta.dtype) * delta, scan)


@dataclasses.dataclass(frozen=True)
class Newton(NewtonLike):
    """Newton's method on all states at once (DEER, ParaRNN): each iteration is one affine scan.

    delta_t = J_t delta_{t-1} + f(h_{t-1}, x_t) - h_t, delta_0 = 0;  h <- h + damping * delta

    With damping = 1 the first k states are exact after k iterations, so T suffice; near the solution convergence is
    quadratic. `steps` = K makes exactly K iterations whatever the residual (the paper uses 3). A sequence whose
    residual rose `patience` iterations in a row is given up as diverged; with None it may go on, for at the edge of
    chaos Newton can recover after many. ParaRNN (arXiv 2510.21450, section 2).

    Raises ValueError unless 0 < damping <= 1 and steps and patience are None or at least 1.
    """

    damping: float = 1.0
    steps: int | None = None
    patience: int | None = PATIENCE

    def evaluate(self, system: System, states: Array) -> tuple[Array, AbstractJacobian]:
        return system.evaluate(states)


def check_integer(name: str, value: object, least: int, otherwise: str = "") -> None:
    """Raise ValueError unless value is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name}: {value!r}, must be {otherwise}an integer of at least {least}")
