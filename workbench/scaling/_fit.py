"""The driver: one call that fits any form to any losses, from many starts."""

import itertools
from typing import Literal, NamedTuple

import numpy as np

from workbench.errors import NotConverged
from workbench.scaling._descend import Ends, Observed, descend, phi_of
from workbench.scaling._form import AbstractForm
from workbench.scaling._forms import ParScaleLaw
from workbench.scaling._law import SETTLED, Law, Status
from workbench.scaling._losses import Losses

SAME = 1e-3
"""Starts that end within this share of the best objective have reached it."""


class Search(NamedTuple):
    """How the minimum is looked for: so many starts of the grid, Huber's delta, the seed that chooses the starts."""

    starts: int
    delta: float
    seed: int


def fit(
    losses: Losses,
    form: AbstractForm | None = None,
    starts: int = 300,
    delta: float = 1e-3,
    seed: int = 0,
    on_failure: Literal["raise", "return"] = "raise",
) -> Law:
    """The parameters of a law that explain the losses best, and how far they can be trusted.

        minimise  sum_i Huber_delta(ln L_i - ln L(N_i, P_i)),   Huber(e) = e^2 / 2 if |e| <= delta,
                                                                           delta (|e| - delta / 2) otherwise,

    every parameter at or above its bound, from `starts` points of the form's grid (all of it, if that is smaller; a
    subset drawn by `seed` otherwise), all of them at once in float64, whatever JAX's default is. `form` is
    `ParScaleLaw()` if left out, whose grid has 300 points. `delta` is in units of ln L: deviations of a tenth of a
    per cent count as squares, larger ones by their size.

    The best end is returned; its `.status` says whether it is a minimum, how many starts reached it, and which
    parameters stand at their bound. Raises NotConverged if it is none, unless on_failure="return"; ValueError, naming
    the argument, for what cannot be right. Compiles once a form and number of runs.
    Source: Hoffmann et al. 2022 (arXiv 2203.15556), approach 3; ParScale (arXiv 2505.10475), its released fit.
    """
    form = ParScaleLaw() if form is None else form
    search = Search(starts, delta, seed)
    check(losses, form, search)
    if on_failure not in ("raise", "return"):
        raise ValueError(f"on_failure: {on_failure!r}, must be 'raise' or 'return'")
    law = best(losses, form, search)
    if on_failure == "raise" and not law.status.converged:
        raise NotConverged(
            f"{form!r} on {losses.name}: {law.status}. The exception's .result holds the best end; "
            "on_failure='return' returns it",
            law,
        )
    return law


def check(losses: Losses, form: AbstractForm, search: Search) -> None:
    """ValueError, naming the argument, for what cannot be fitted."""
    if not isinstance(losses, Losses):
        raise ValueError(f"losses: {type(losses).__name__}, must be scaling.Losses or scaling.published(name)")  # noqa: TRY004
    if not isinstance(form, AbstractForm):
        raise ValueError(f"form: {form!r}, must be a form such as ParScaleLaw()")  # noqa: TRY004
    if not _whole(search.starts) or search.starts < 1:
        raise ValueError(f"starts: {search.starts!r}, must be a whole number, at least 1")
    if not isinstance(search.delta, int | float) or not 0 < search.delta < float("inf"):
        raise ValueError(f"delta: {search.delta!r}, must be a number above 0")
    if not _whole(search.seed) or search.seed < 0:
        raise ValueError(f"seed: {search.seed!r}, must be a whole number, at least 0")
    if len(losses) < len(form.names):
        raise ValueError(f"losses: {len(losses)} runs, must be at least as many as {form!r} has parameters")
    if form.uses_streams and np.ptp(losses.streams) == 0:
        raise ValueError(f"losses: all with {losses.streams[0]:g} streams, must have two numbers of them for {form!r}")


def best(losses: Losses, form: AbstractForm, search: Search, counts: np.ndarray | None = None) -> Law:
    """The best end of the search; runs with a count of 0 are left out of the objective, not of `losses`."""
    starts = grid(form, search.starts, search.seed)
    ends = descend(form, observed(losses), phi_of(form, starts), search.delta, counts)
    at = int(np.argmin(ends.objective))
    return Law(form, losses, float(search.delta), ends.phi[at], float(ends.objective[at]), _status(form, ends, at))


def grid(form: AbstractForm, starts: int, seed: int) -> np.ndarray:
    """(starts, d): points of the product of the form's values, all of them or a drawn subset in the grid's order."""
    points = np.array(list(itertools.product(*form.starts)), float)
    if starts >= len(points):
        return points
    return points[np.sort(np.random.default_rng(seed).choice(len(points), starts, replace=False))]


def observed(losses: Losses) -> Observed:
    """The columns that the minimisation takes."""
    return Observed(losses.parameters, losses.streams, np.log(losses.loss))


def _status(form: AbstractForm, ends: Ends, at: int) -> Status:
    objective = ends.objective[at]
    reached = int((ends.objective <= objective * (1 + SAME) + 1e-20).sum()) if np.isfinite(objective) else 0
    held = tuple(name for name, bound in zip(form.names, ends.at_bound[at], strict=True) if bound)
    converged = bool(np.isfinite(objective) and ends.promise[at] <= SETTLED)
    return Status(converged, held, len(ends.objective), reached)


def _whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
