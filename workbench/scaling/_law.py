"""What a fit returns: a law that says how well it holds, what it predicts, and how sure it is."""

import dataclasses
from functools import cached_property
from typing import Any

import jax
import numpy as np

from workbench import display
from workbench.scaling import _uncertainty as uncertainty
from workbench.scaling._descend import Observed
from workbench.scaling._estimate import Bootstrap, Estimate, Params, known, share
from workbench.scaling._form import AbstractForm
from workbench.scaling._losses import Losses, positive

SETTLED = 1e-6
"""A fit has converged when one more step promises to lower its objective by less than this share."""


@dataclasses.dataclass(frozen=True, repr=False)
class Status:
    """How a search ended: whether at a minimum, on which bounds, and how many of its starts came to the same end."""

    converged: bool
    at_bound: tuple[str, ...]
    starts: int
    reached: int

    def __repr__(self) -> str:
        told = "converged" if self.converged else "not converged"
        bound = f", {' and '.join(self.at_bound)} at the lower bound" if self.at_bound else ""
        return f"{told}{bound} ({self.reached} of {self.starts} starts)"


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Law:
    """A form with its parameters fitted to losses. `objective` is the sum of Huber's function of the residuals; `phi`,
    (d,), are the parameters as the search sees them, mostly logarithms.

    Intervals take the residuals of ln L for normal, with the variance that the fit left. They know nothing of runs
    that share a mistake, or of a form that is not the true one: compare forms with `rank`.
    """

    form: AbstractForm
    losses: Losses
    delta: float
    phi: np.ndarray
    objective: float
    status: Status

    @cached_property
    def params(self) -> Params:
        """The parameters by name; a size A in single parameters, losses in nats."""
        return Params({name: float(a) for name, a in uncertainty.params_at(self.form, self.phi).items()})

    @cached_property
    def fitted(self) -> np.ndarray:
        """The law's loss at every run, (n,)."""
        return np.exp(self._slopes(self.losses.parameters, self.losses.streams)[0])

    @cached_property
    def residuals(self) -> np.ndarray:
        """ln L observed - ln L of the law, (n,)."""
        return np.log(self.losses.loss) - np.log(self.fitted)

    @property
    def r2(self) -> float:
        """1 - sum (L - L_law)^2 / sum (L - mean L)^2, in losses, not their logarithms."""
        loss = self.losses.loss
        total = float(((loss - loss.mean()) ** 2).sum())
        return 1 - float(((loss - self.fitted) ** 2).sum()) / total if total else float("nan")

    @property
    def aic(self) -> float:
        """Akaike's criterion, n ln(sum e^2 / n) + 2 (d + 1), of normal residuals e of ln L with d parameters."""
        n, squares = len(self.losses), float((self.residuals**2).sum())
        return n * float(np.log(max(squares / n, 1e-300))) + 2 * (len(self.form.names) + 1)

    def interval(self, name: str, level: float = 0.9) -> Estimate:
        """Profile interval of a parameter: the values at which the others, fitted anew, keep the objective near its
        minimum, within t^2 / 2 E[psi^2] / E[psi'] (see `workbench.scaling._uncertainty`); `lo, hi = law.interval("k")`.

        Not symmetric, and it follows correlations (E, A and alpha go together). Infinite, or at the parameter's bound,
        on a side that the losses leave open. Raises ValueError for an unknown name or a level outside (0, 1).
        """
        known("name", name, self.form.names)
        of, t = self._spread, uncertainty.quantile(share("level", level), self._spread.freedom)
        if not of.freedom:
            return Estimate(self.params[name], self.form.lower[self.form.names.index(name)], float("inf"), level)
        rise = t**2 / 2 * of.psi_square / of.psi_slope
        lo, hi = uncertainty.profile(self._core, name, rise, self._covariance)
        return Estimate(self.params[name], lo, hi, level)

    def bootstrap(self, samples: int = 200, seed: int = 0) -> Bootstrap:
        """The parameters fitted anew to `samples` draws of the runs with replacement, each from the law's own.

        All draws in one compiled program. Raises ValueError for samples < 1 or if no draw converges.
        """
        if not isinstance(samples, int) or samples < 1:
            raise ValueError(f"samples: {samples!r}, must be a whole number, at least 1")
        phi, promise = uncertainty.resample(self._core, samples, seed)
        sound = promise <= SETTLED
        if not sound.any():
            raise ValueError(f"samples: none of {samples} converged; the runs are too few for {self.form!r}")
        return Bootstrap(uncertainty.params_at(self.form, phi[sound]), self.params, int((~sound).sum()))

    def predict(self, *, parameters: Any, streams: Any = 1, level: float = 0.9) -> Estimate:
        """The loss of models of N `parameters` with P `streams`, numbers or arrays: `.value`, `.lo`, `.hi`.

        The interval is for the loss of one more run: ln L +- t sqrt(g^T C g + s^2), g the derivatives of ln L by the
        coordinates, C their covariance, s^2 the variance of the residuals. Raises ValueError naming the argument.
        """
        N, P = _runs(parameters, streams)
        value, g = self._slopes(N.ravel(), P.ravel())
        t = uncertainty.quantile(share("level", level), self._spread.freedom)
        if self._spread.freedom:
            width = t * np.sqrt(np.einsum("mi,ij,mj->m", g, self._covariance, g) + self._spread.variance)
        else:
            width = np.full(value.shape, np.inf)
        shaped = (np.exp(a).reshape(N.shape) for a in (value, value - width, value + width))
        return Estimate(*(a if a.ndim else float(a) for a in shaped), level)

    def equivalent_parameters(self, parameters: Any, streams: Any) -> Any:
        """The size whose loss with one stream is that of N with P streams: N (1 + k ln P) for ParScale's law.

        Raises ValueError for a form that does not say.
        """
        N, P = _runs(parameters, streams)
        with jax.enable_x64(True):
            size = np.asarray(self.form.equivalent_parameters(self.params, N, P))
        return size if size.ndim else float(size)

    def plot(self) -> Any:
        """The runs and the law's curve for every number of streams, loss over parameters, log axis (HoloViews)."""
        from workbench.scaling._plot import curves

        return curves(self)

    @cached_property
    def _spread(self) -> uncertainty.Spread:
        return uncertainty.spread(self.residuals, len(self.form.names), self.delta)

    @cached_property
    def _covariance(self) -> np.ndarray:
        held = np.array([name in self.status.at_bound for name in self.form.names])
        return uncertainty.covariance(self._core, self._spread, held)

    @property
    def _core(self) -> uncertainty.Fitted:
        runs = Observed(self.losses.parameters, self.losses.streams, np.log(self.losses.loss))
        return uncertainty.Fitted(self.form, runs, self.delta, self.phi, self.objective)

    def _slopes(self, N: np.ndarray, P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return uncertainty.slopes(self.form, self.phi, N, P)

    def _facts(self) -> dict[str, str]:
        return {
            "form": repr(self.form),
            "losses": f"{self.losses.name}, {len(self.losses)} runs",
            "parameters": repr(self.params),
            "R²": display.number(self.r2, 4),
            "objective": display.number(self.objective, 4),
            "AIC": display.number(self.aic),
            "status": repr(self.status),
        }

    def __repr__(self) -> str:
        return "Law(" + ", ".join(f"{name}: {value}" for name, value in self._facts().items()) + ")"

    def _repr_html_(self) -> str:
        return display.card("Law", self._facts())


def _runs(parameters: Any, streams: Any) -> tuple[np.ndarray, np.ndarray]:
    N, P = positive("parameters", parameters), positive("streams", streams, whole=True)
    try:
        N, P = np.broadcast_arrays(N, P)
    except ValueError:
        raise ValueError(f"streams: shape {P.shape}, must go with that of parameters, {N.shape}") from None
    return N, P
