"""Where a parallel solution can be expected before it is tried: by Lyapunov exponent, length and precision."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

Outlook = Literal["predictable", "borderline", "unpredictable"]

OUTLOOK = {
    "predictable": "O(log T) iterations",
    "borderline": "more than O(log T) iterations, up to T",
    "unpredictable": "up to T iterations: does not pay in parallel",
}
"""What each outlook says of Newton's iterations."""


def largest_exponent(length: Any, dtype: Any) -> np.ndarray:
    """The largest lambda, nats a step, at which T steps are still in reach: log(1/eps) / (2 T).

    sigma_min(dr/dh) = sqrt(mu) falls like e^(-lambda T); here it is sqrt(eps), so that a Newton step loses half of the
    digits. A rule, not a theorem: it says where float arithmetic ends, while the theory says that the cost grows with
    e^(lambda T) (Gonzalez et al., arXiv 2508.16817).
    """
    return -math.log(float(jnp.finfo(dtype).eps)) / 2 / np.maximum(np.asarray(length, float), 1.0)


def outlook(lyapunov: Any, length: Any, dtype: Any) -> np.ndarray:
    """The outlook of each recurrence: predictable (lambda T < -1), unpredictable (lambda past `largest_exponent`, or
    not finite), borderline in between, where the exponent of a finite sequence says little."""
    rate, length = np.broadcast_arrays(np.asarray(lyapunov, float), np.asarray(length, float))
    told = np.full(rate.shape, "borderline", dtype="<U13")
    told[rate * length < -1] = "predictable"
    told[np.isnan(rate) | (rate > largest_exponent(length, dtype))] = "unpredictable"
    return told


def plot_region(points: Mapping[str, Any], dtype: Any = "float64", title: str = "Where Newton converges") -> Any:
    """Measured runs over (lambda, T) on the region where success is predicted, shaded (HoloViews).

    `points` has arrays of one length: `lyapunov` (nats a step), `length` (T), `iterations`, `converged`, and `seed` if
    several were run. The shaded region is lambda <= `largest_exponent(T, dtype)`.
    Raises ValueError for a column that is missing or of another length.
    """
    from workbench.rnn._plot import region

    return region(_columns(points, ("lyapunov", "length", "iterations", "converged")), dtype, title)


def plot_iterations(points: Mapping[str, Any], over: str = "lyapunov", title: str = "Iterations by solver") -> Any:
    """Iterations by solver over a column of `points` ("lyapunov" or "g"), a mark a run, a line through medians.

    `points` as for `plot_region`, with `solver` (a name a run) and, if medians are to be taken by gain, `g`.
    """
    from workbench.rnn._plot import iterations

    return iterations(_columns(points, ("solver", over, "iterations", "converged")), over, title)


def _columns(points: Mapping[str, Any], needed: tuple[str, ...]) -> dict[str, np.ndarray]:
    columns = {name: np.asarray(values) for name, values in points.items()}
    missing = [name for name in needed if name not in columns]
    if missing:
        raise ValueError(f"points: {sorted(columns)}, must have the columns {list(needed)}; {missing} are missing")
    sizes = {columns[name].shape for name in columns}
    if len(sizes) != 1 or len(next(iter(sizes))) != 1 or not next(iter(sizes))[0]:
        raise ValueError(f"points: columns of shapes {sorted(sizes)}, must be arrays of one length, at least 1")
    return columns
