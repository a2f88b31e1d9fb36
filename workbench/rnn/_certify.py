"""A certificate: what is proved about a solution, what is estimated, and why the rest is refused; a sequence each."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from workbench import display
from workbench.rnn._cell import AbstractCell
from workbench.rnn._conditioning import Conditioning, along
from workbench.rnn._diagnostics import error_bounds
from workbench.rnn._region import OUTLOOK, outlook

SHOWN = 8
"""So many sequences are printed one by one; the rest is counted."""


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Certificate:
    """What can be said about each sequence of a solution; arrays of the batch's shape, on the host.

    `verdict` is "certified" (the tolerance is met and `error_bound` holds), "not certified" (met, but no bound on the
    error could be proved) or "refused" (not met). `first_order` is the bound without the remainder of the
    linearisation, `error_bound` the one with it, infinite where that does not close; it rests on `lipschitz`, an
    estimate of Lip(J) along the states. `conditioning` is that along the states, or, where they are refused, along the
    sequential rollout; `basin`, an estimate, is the residual |r|_2 below which Newton converges quadratically:
    2 mu / Lip(J) (Gonzalez et al., arXiv 2508.16817), with the lower end of the bracket of sqrt(mu).
    """

    converged: np.ndarray
    iterations: np.ndarray
    residual: np.ndarray
    first_order: np.ndarray
    error_bound: np.ndarray
    lipschitz: np.ndarray
    residual_norm: np.ndarray
    conditioning: Conditioning
    length: int
    dtype: np.dtype

    @property
    def lyapunov(self) -> np.ndarray:
        """Largest Lyapunov exponent, nats a step."""
        return np.asarray(self.conditioning.lyapunov)

    @property
    def basin(self) -> np.ndarray:
        """2 mu / Lip(J): the estimated radius, in |r|_2, of quadratic convergence; infinite for a linear recurrence."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.lipschitz == 0, np.inf, 2 * self.conditioning.sharp_lower**2 / self.lipschitz)

    @property
    def certified(self) -> np.ndarray:
        """Whether each sequence met its tolerance and has a finite bound on its error."""
        return self.converged & np.isfinite(self.error_bound)

    @property
    def verdict(self) -> np.ndarray:
        """ "certified", "not certified" or "refused", a sequence each."""
        return np.where(self.certified, "certified", np.where(self.converged, "not certified", "refused"))

    @property
    def outlook(self) -> np.ndarray:
        """ "predictable", "borderline" or "unpredictable", a sequence each, by exponent, length and precision."""
        return outlook(self.lyapunov, self.length, self.dtype)

    def plot(self) -> Any:
        """Norms of products of consecutive Jacobians by their number: what an error does on its way (HoloViews)."""
        from workbench.rnn._plot import windows

        return windows(self)

    def lines(self) -> list[str]:
        """One sentence a sequence, in the order of the flattened batch."""
        told = (self.verdict, self.outlook, self.error_bound, self.first_order, self.residual, self.lyapunov)
        return [self._line(*facts) for facts in zip(*(np.ravel(column) for column in told), strict=True)]

    def _line(self, verdict: str, outlook: str, bound: float, first: float, residual: float, rate: float) -> str:
        hint = ""
        if verdict == "certified":
            said = f"certified: |h - h*| <= {display.number(bound)}"
        elif verdict == "not certified":
            said = f"not certified: the residual is {display.number(residual)}, but to first order the error may be "
            said += display.number(first)
        else:
            said = (
                f"refused: the residual is {display.number(residual)}"
                if np.isfinite(residual)
                else "refused: not finite"
            )
            if outlook == "predictable":
                hint = "; a guess nearer the solution, or Elk() or QuasiNewton(clip=True), may get there"
        return f"{said}; {outlook}: lambda = {display.number(rate)}; predicted: {OUTLOOK[outlook]}{hint}"

    def _facts(self) -> dict[str, str]:
        lines, where = self.lines(), list(np.ndindex(self.converged.shape))
        if self.converged.ndim == 0:
            return {"": lines[0]}
        facts = {", ".join(map(str, index)): line for index, line in list(zip(where, lines, strict=True))[:SHOWN]}
        if len(lines) > SHOWN:
            names, counts = np.unique(self.verdict.ravel()[SHOWN:], return_counts=True)
            rest = ", ".join(f"{n} {name}" for name, n in zip(names, counts, strict=True))
            facts[f"{len(lines) - SHOWN} more"] = rest
        return facts or {"sequences": "none"}

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {line}" if name else line for name, line in self._facts().items())

    def _repr_html_(self) -> str:
        return display.card("Certificate", self._facts())


def certify(cell: AbstractCell, data: tuple, states: Any, record: tuple) -> Certificate:
    """The certificate of `states`; `record` is (converged, iterations, residual). Values must be known (not traced).

    Two bounds are tried and the smaller one taken. Entry by entry the error is followed from step to step by |J_t|,
    which is sharp for a diagonal J. By norms it is at most B max_t |r_t|_2, B = 1 / `sharp_lower` the sum of the
    largest norms of the windows of every length, which sees entries of a dense J cancel.
    """
    bounds = jax.device_get(error_bounds(cell, data, states))
    known = jax.device_get(along(cell, data, states, record[0]))
    converged, iterations, residual = (np.asarray(a) for a in record)
    with np.errstate(all="ignore"):
        first = bounds.source / known.sharp_lower
        proved = (bounds.source + bounds.lipschitz / 2 * (2 * first) ** 2) / known.sharp_lower
        proved = np.where(converged & (proved <= 2 * first), proved, np.inf)  # elsewhere `known` is of another path
    first = np.where(converged, np.fmin(first, bounds.first_order), bounds.first_order)
    proved = np.fmin(proved, bounds.proved)
    length = states.shape[states.ndim - len(cell.state_shape) - 1]
    return Certificate(
        converged, iterations, residual, first, proved, bounds.lipschitz, bounds.residual_norm,
        known, length, np.dtype(jnp.dtype(states.dtype)),
    )  # fmt: skip
