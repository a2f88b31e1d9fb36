"""Which form to believe: the one that foretells what it has not seen, not the one that fits best."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from workbench.scaling._fit import Search, best, check
from workbench.scaling._form import AbstractForm
from workbench.scaling._forms import FORMS, ParScaleLaw
from workbench.scaling._losses import Losses

if TYPE_CHECKING:
    import polars


def rank(
    losses: Losses,
    forms: Sequence[AbstractForm] = FORMS,
    leave_out: Literal["streams", "runs"] = "streams",
    starts: int = 300,
    delta: float = 1e-3,
    seed: int = 0,
) -> "polars.DataFrame":
    """Forms by the error of what was left out, best first; beside it how well they fit what they have seen.

    Each number of streams in turn (`leave_out` "streams") or each run ("runs") is left out, the form is fitted to the
    rest as by `fit`, and foretells it. Columns: `form`; `left_out_error`, the root mean square of ln L - ln L_foretold
    over all runs; `worst_error`, the largest one; `parameters`, how many; then of the fit to everything `r2`, `aic`,
    `objective` and `status`; `failed`, the fits of them all that did not converge.

    The number of streams is extrapolated where the least or the most are left out: an easy form to overfit loses there.
    Raises ValueError, naming the argument, for what cannot be left out or fitted.
    """
    import polars

    search = Search(starts, delta, seed)
    if isinstance(forms, AbstractForm) or not len(forms):
        raise ValueError(f"forms: {forms!r}, must be a sequence of forms, one at least")
    for form in forms:
        check(losses, form, search)
    folds = list(_folds(losses, leave_out, max(len(form.names) for form in forms)))
    rows = [_row(losses, form, search, folds) for form in forms]
    return polars.DataFrame(rows).sort("left_out_error")


def foretell(
    losses: Losses,
    form: AbstractForm | None = None,
    leave_out: Literal["streams", "runs"] = "runs",
    starts: int = 300,
    delta: float = 1e-3,
    seed: int = 0,
) -> Float[np.ndarray, " n"]:
    """The loss of every run as the law foretells it that was fitted without it (`leave_out` as in `rank`).

    Raises ValueError, naming the argument, for what cannot be left out or fitted.
    """
    form, search = ParScaleLaw() if form is None else form, Search(starts, delta, seed)
    check(losses, form, search)
    folds = list(_folds(losses, leave_out, len(form.names)))
    return losses.loss / np.exp(_left_out(losses, form, search, folds)[0])


def _left_out(
    losses: Losses, form: AbstractForm, search: Search, folds: list[np.ndarray]
) -> tuple[Float[np.ndarray, " n"], int]:
    """(ln L - ln L foretold of every run, how many fits did not converge)."""
    errors, failed = np.zeros(len(losses)), 0
    for left_out in folds:
        law = best(losses, form, search, counts=1.0 - left_out)
        errors[left_out] = law.residuals[left_out]
        failed += not law.status.converged
    return errors, failed


def _row(losses: Losses, form: AbstractForm, search: Search, folds: list[np.ndarray]) -> dict[str, object]:
    errors, failed = _left_out(losses, form, search, folds)
    law = best(losses, form, search)
    return {
        "form": repr(form),
        "left_out_error": float(np.sqrt((errors**2).mean())),
        "worst_error": float(np.abs(errors).max()),
        "parameters": len(form.names),
        "r2": law.r2,
        "aic": law.aic,
        "objective": law.objective,
        "status": repr(law.status),
        "failed": failed + (not law.status.converged),
    }


def _folds(losses: Losses, leave_out: str, parameters: int) -> Iterator[np.ndarray]:
    """Which runs are left out, (n,) bool, a fold each."""
    if leave_out not in ("streams", "runs"):
        raise ValueError(f"leave_out: {leave_out!r}, must be 'streams' or 'runs'")
    group = losses.streams if leave_out == "streams" else np.arange(len(losses), dtype=float)
    values, sizes = np.unique(group, return_counts=True)
    if leave_out == "streams" and values.size < 3:
        raise ValueError(f"leave_out: 'streams', must be 'runs' where there are only {values.size} numbers of streams")
    if len(losses) - sizes.max() < parameters:
        raise ValueError(
            f"losses: {len(losses)} runs, too few to leave out {sizes.max()} and fit {parameters} parameters"
        )
    return (group == value for value in values)
