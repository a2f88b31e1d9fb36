"""The claims about where parallel solution ends: predictable and chaotic recurrences, what is refused, what rescues."""

from typing import Any

import numpy as np

from workbench import rnn
from workbench.studies import _pararnn_limits as limits
from workbench.studies import _pararnn_sweep as sweep
from workbench.studies._pararnn_convergence import BFLOAT16_UNIT
from workbench.study import Outcome

PREDICTABLE, EDGE, CHAOTIC = 0.5, 0.9, 2.0  # gains of the random network that the claims are about


def outcomes(sizes: sweep.Sweep, log: Any) -> dict[str, Outcome]:
    """What the sweep over gains says, the logistic map in chaos, and ELK where Newton overshoots."""
    points = sweep.run_sweep(sizes)
    sweep.log_points(log, points)
    low, edge, high = (min(sizes.gains, key=lambda g, at=at: abs(g - at)) for at in (PREDICTABLE, EDGE, CHAOTIC))
    slopes = {g: sweep.growth_with_length(points, g) for g in (edge, high)}
    depths = {g: _depths(points, g) for g in (low, high)}
    conditions = {"dim": sizes.dim, "lengths": list(sizes.lengths), "tolerance": sizes.tolerance}
    return {
        "theory.predictable.slope": Outcome(slopes[edge], None, slopes[high], conditions | {"gain": edge}),
        "theory.chaotic.slope": Outcome(slopes[high], None, slopes[edge], conditions | {"gain": high}),
        "theory.predictable.depth": Outcome(depths[low], None, depths[high], conditions | {"gain": low}),
        "theory.chaotic.depth": Outcome(depths[high], None, depths[low], conditions | {"gain": high}),
        "theory.threshold": Outcome(
            sweep.threshold(points), None, sweep.threshold(points, "quasi-newton"), conditions
        ),
        **_logistic(log),
    }  # fmt: skip


def _depths(points: sweep.Points, g: float) -> np.ndarray:
    mine = sweep.select(points, solver="newton", g=g, length=points["length"].max())
    return sweep.depth_ratio(mine["iterations"], mine["length"])


def _logistic(log: Any) -> dict[str, Outcome]:
    calm, newton, chaos = (
        limits.logistic(2.5, rnn.Elk()),
        limits.logistic(2.5, rnn.Newton()),
        limits.logistic(4.0, rnn.Newton()),
    )
    log.log(step=0, **{"logistic/elk/iterations": calm.iterations, "logistic/chaos/lyapunov": chaos.lyapunov})
    depth = [float(sweep.depth_ratio(ended.iterations, 1000)) for ended in (calm, newton)]
    note = f"ELK: {calm.iterations:g} iterations; exponents {calm.lyapunov:.2f} (r = 2.5) and {chaos.lyapunov:.2f} (4)"
    return {
        "elk.stable": Outcome(depth[0], None, depth[1], note=note),
        "theory.refused.logistic": Outcome(_refused(chaos), None, _refused(calm), note=note),
    }


def _refused(ended: limits.Ended) -> float:
    """1 if the solver says that it did not converge and the exponent says why, else 0."""
    return float(not ended.converged and ended.lyapunov > 0)


def further(log: Any) -> dict[str, Outcome]:
    """What takes longer to compile: Lorenz, the conditioning bracket, gradients after few iterations."""
    lorenz = limits.lorenz(rnn.Newton())
    log.log(step=0, **{"lorenz/lyapunov": lorenz.lyapunov})
    inside, forgetful = limits.bracket_violations()
    usual, wide = (limits.truncated_gradients(limits.Truncation(std=std), seed=0) for std in (0.5, 2.0))
    note = "relative error of the gradient: " + ", ".join(f"K = {k}: {error:.1e}" for k, error in usual.items())
    calm = limits.logistic(2.5, rnn.Elk())
    return {
        "theory.refused.lorenz": Outcome(_refused(lorenz), None, _refused(calm)),
        "theory.bracket": Outcome(inside, None, forgetful),
        "iterations.sufficient.wide": Outcome(_enough(usual), None, _enough(wide), note=note),
    }


def _enough(errors: dict[int, float]) -> float:
    return float(min((k for k, error in errors.items() if error <= BFLOAT16_UNIT), default=np.inf))
