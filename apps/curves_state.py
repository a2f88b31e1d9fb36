"""Which curves of which runs are drawn, and how: what the Runs page and the comparison share. No browser needed."""

import re
from typing import Any

import numpy as np
import param
import polars as pl

from apps.source import Source

URL = {"metrics": "metric", "x": "x", "log_x": "log_x", "log_y": "log_y", "smoothing": "smooth"}
LOOKED_AT = ("loss", "accuracy", "perplexity", "reward", "residual")


class CurvesState(param.Parameterized):
    """Metrics and axes. A subclass says of which runs in `drawn`, and which metrics can be chosen in `metric_names`."""

    metrics = param.List(default=[], item_type=str)
    x = param.Selector(default="step", objects=["step", "time"])
    log_x = param.Boolean(default=False)
    log_y = param.Boolean(default=False)
    smoothing = param.Number(default=0.0, bounds=(0.0, 0.99))
    version = param.Integer(default=0)

    def __init__(self, source: Source, **params: Any) -> None:
        super().__init__(**params)
        self.source = source

    def drawn(self) -> list[str]:
        """The runs whose curves are drawn."""
        raise NotImplementedError

    def metric_names(self) -> list[str]:
        """The metrics that can be chosen."""
        raise NotImplementedError

    def drawn_metrics(self) -> list[str]:
        """The chosen metrics, or the two that say most when none is chosen."""
        names = self.metric_names()
        summary = self.source.summary(self.drawn()).filter(pl.col("name").is_in(names))
        return [name for name in self.metrics if name in names] or main_metrics(summary)

    def curve(self, run_id: str, name: str) -> dict[str, np.ndarray]:
        """Columns x, raw and smooth of one curve."""
        frame = self.source.curve(run_id, name, self.x)
        values = frame["value"].to_numpy()
        return {"x": frame["x"].to_numpy(), "raw": values, "smooth": smooth(values, self.smoothing)}


def main_metrics(summary: pl.DataFrame, most: int = 2) -> list[str]:
    """The metrics that say most about runs with this summary, one a family: names are alike up to the first slash.

    First come those that everybody looks at, in the order of `LOOKED_AT`, then the longest curves. Of a family stands
    the first in natural order.
    """
    longest = dict(summary.group_by("name").agg(pl.col("n").max()).iter_rows())
    families: dict[str, list[str]] = {}
    for name in longest:
        families.setdefault(name.split("/")[0], []).append(name)

    def rank(family: str) -> tuple[int, int, str]:
        last = re.split("[-_ ]", family.lower())[-1]  # `val_loss` is a loss, `loss-scale` is none
        known = LOOKED_AT.index(last) if last in LOOKED_AT else len(LOOKED_AT)
        return known, -max(longest[name] for name in families[family]), family

    return [min(families[family], key=natural) for family in sorted(families, key=rank)[:most]]


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts `residual/256` before `residual/2048`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def smooth(values: np.ndarray, weight: float) -> np.ndarray:
    """Exponential smoothing sₜ = w sₜ₋₁ + (1 − w) vₜ, corrected for its start; a value that is not finite is a gap.

    `weight` w in [0, 1); 0 returns the values.
    """
    if weight == 0 or values.size == 0:
        return values
    out, state, mass = np.empty(values.size), 0.0, 0.0
    for at, value in enumerate(values):
        if np.isfinite(value):
            state = weight * state + (1 - weight) * value
            mass = weight * mass + (1 - weight)
            out[at] = state / mass
        else:
            out[at] = np.nan
    return out
