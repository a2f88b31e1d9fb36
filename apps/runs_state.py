"""The state of the Runs page: filters, selected runs, metrics, axes, and what follows from them. No browser needed."""

import json
import re
from typing import Any

import numpy as np
import param
import polars as pl

from apps.source import Source, search

URL = {
    "studies": "study", "statuses": "status", "tags": "tag", "text": "q", "selected": "run", "metrics": "metric",
    "x": "x", "log_x": "log_x", "log_y": "log_y", "smoothing": "smooth",
}  # fmt: skip
STATUS = {"running": "▶", "finished": "✓", "failed": "✗", "interrupted": "‖", "crashed": "⚠"}
LOOKED_AT = ("loss", "accuracy", "perplexity", "reward", "residual")
MOST_CURVES = 12  # runs drawn at once; more cannot be told apart


class RunsState(param.Parameterized):
    """Which runs are listed, which are drawn, and how. An empty filter lets everything through."""

    studies = param.List(default=[], item_type=str)
    statuses = param.List(default=[], item_type=str)
    tags = param.List(default=[], item_type=str)
    text = param.String(default="")
    selected = param.List(default=[], item_type=str)
    metrics = param.List(default=[], item_type=str)
    x = param.Selector(default="step", objects=["step", "time"])
    log_x = param.Boolean(default=False)
    log_y = param.Boolean(default=False)
    smoothing = param.Number(default=0.0, bounds=(0.0, 0.99))
    version = param.Integer(default=0)

    def __init__(self, source: Source, **params: Any) -> None:
        super().__init__(**params)
        self.source = source

    def rows(self) -> pl.DataFrame:
        """The runs that pass the filters, the newest first."""
        frame = self.source.runs()
        if self.studies:
            frame = frame.filter(pl.col("study").is_in(self.studies))
        if self.statuses:
            frame = frame.filter(pl.col("status").is_in(self.statuses))
        for tag in self.tags:
            frame = frame.filter(pl.col("tags").list.contains(tag))
        return search(frame, ["run_id", "study", "note", "config", "command", "host"], self.text)

    def options(self, column: str) -> list[str]:
        """The values of a column over all runs, for a filter."""
        values = self.source.runs()[column]
        values = values.explode() if column == "tags" else values
        return sorted(value for value in values.unique() if value)

    def drawn(self) -> list[str]:
        """The runs whose curves are drawn: the selected ones that exist, at most `MOST_CURVES`."""
        have = set(self.source.runs()["run_id"])
        return [run_id for run_id in self.selected if run_id in have][:MOST_CURVES]

    def select_newest(self) -> None:
        """Select the newest run that has metrics, so that the page does not open on an empty figure."""
        filled = self.rows().filter(pl.col("n_rows") > 0)
        if filled.height and not self.drawn():
            self.selected = [filled["run_id"][0]]

    def metric_names(self) -> list[str]:
        """The metrics of the drawn runs, those that most of them share first."""
        drawn = self.drawn()
        if not drawn:
            return []
        counts = self.source.summary(drawn).group_by("name").len().sort(["len", "name"], descending=[True, False])
        return counts["name"].to_list()

    def drawn_metrics(self) -> list[str]:
        """The chosen metrics, or the two that say most when none is chosen."""
        names = self.metric_names()
        return [name for name in self.metrics if name in names] or main_metrics(self.source.summary(self.drawn()))

    def curve(self, run_id: str, name: str) -> dict[str, np.ndarray]:
        """Columns x, raw and smooth of one curve."""
        frame = self.source.curve(run_id, name, self.x)
        values = frame["value"].to_numpy()
        return {"x": frame["x"].to_numpy(), "raw": values, "smooth": smooth(values, self.smoothing)}

    def reset(self) -> None:
        """Let every run through again."""
        self.param.update(studies=[], statuses=[], tags=[], text="")

    def python(self) -> str:
        """The Python lines that give the drawn curves."""
        names = self.drawn_metrics()
        lines = ["from workbench import store", "", f"log = store.open({self.source.written()})"]
        lines += [f"print(log.metrics({json.dumps(run_id)}, {json.dumps(names)}))" for run_id in self.drawn()]
        return "\n".join(lines if self.drawn() else [*lines, "print(log.runs())"])


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
