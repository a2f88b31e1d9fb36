"""The state of the Runs page: filters, selected runs, metrics, axes, and what follows from them. No browser needed."""

import json

import param
import polars as pl

from apps import curves_state
from apps.curves_state import CurvesState
from apps.source import search

URL = {
    "studies": "study", "statuses": "status", "tags": "tag", "text": "q", "selected": "run",
    **curves_state.URL,
}  # fmt: skip
STATUS = {"running": "▶", "finished": "✓", "failed": "✗", "interrupted": "‖", "crashed": "⚠"}
MOST_CURVES = 12  # runs drawn at once; more cannot be told apart


class RunsState(CurvesState):
    """Which runs are listed, which are drawn, and how. An empty filter lets everything through."""

    studies = param.List(default=[], item_type=str)
    statuses = param.List(default=[], item_type=str)
    tags = param.List(default=[], item_type=str)
    text = param.String(default="")
    selected = param.List(default=[], item_type=str)

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

    def reset(self) -> None:
        """Let every run through again."""
        self.param.update(studies=[], statuses=[], tags=[], text="")

    def python(self) -> str:
        """The Python lines that give the drawn curves."""
        names = self.drawn_metrics()
        lines = ["from workbench import store", "", f"log = store.open({self.source.written()})"]
        lines += [f"print(log.metrics({json.dumps(run_id)}, {json.dumps(names)}))" for run_id in self.drawn()]
        return "\n".join(lines if self.drawn() else [*lines, "print(log.runs())"])
