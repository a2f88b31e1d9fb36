"""Curves of several runs over each other: one figure a metric, a run told apart by colour, dash and legend."""

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, Legend, LegendItem
from bokeh.plotting import figure

from apps.curves_state import CurvesState
from workbench import display

# Together with the colour: eight colours with solid lines, then again dashed.
DASHES = ("solid", "dashed", "dotdash")
_X_LABEL = {"step": "step", "time": "time since the first row (s)"}


class Curves:
    """The figures of one choice of runs, metrics and axes; `update` changes their data and leaves zoom alone."""

    def __init__(self, state: CurvesState) -> None:
        self.state = state
        self.runs, self.metrics = state.drawn(), state.drawn_metrics()
        self._sources: dict[tuple[str, str], Any] = {}
        self.figures: list[Any] = []
        for name in self.metrics:
            self.figures.append(self._figure(name, self.figures[0].x_range if self.figures else None))

    def update(self) -> None:
        """Read the curves again; a source is touched only when its curve has changed."""
        for (run_id, name), source in self._sources.items():
            fresh = self._data(run_id, name)
            same = all(np.array_equal(fresh[k], source.data[k], equal_nan=True) for k in ("x", "raw", "smooth"))
            if not same:
                source.data = fresh

    def _figure(self, name: str, x_range: Any) -> Any:
        state = self.state
        fig: Any = figure(
            title=name, height=330, sizing_mode="stretch_width", x_axis_label=_X_LABEL[state.x],
            x_axis_type="log" if state.log_x else "linear", y_axis_type="log" if state.log_y else "linear",
            tools="xbox_zoom,box_zoom,wheel_zoom,pan,reset,save", active_drag="box_zoom", active_scroll=None,
            outline_line_color=None, **({"x_range": x_range} if x_range else {}),
        )  # fmt: skip
        fig.toolbar.logo = None
        fig.toolbar.autohide = True
        fig.grid.grid_line_color = "#ECECEC"
        fig.axis.axis_line_color = "#B9BEC6"
        fig.title.text_font_size, fig.xaxis.axis_label_text_font_style = "14px", "normal"
        items = [item for at, run_id in enumerate(self.runs) if (item := self._line(fig, at, run_id, name))]
        if not state.log_y:
            fig.y_range.default_span = self._span(name)
        look: dict[str, Any] = {"label_text_font_size": "12px", "margin": 0, "padding": 2, "spacing": 0}
        legend = Legend(items=items, border_line_color=None, click_policy="hide", location="top_left", **look)
        legend.ncols = 2 if len(items) > 3 else 1
        fig.add_layout(legend, "below")
        return fig

    def _span(self, name: str) -> float:
        """How much of the vertical axis a constant takes: a fifth of it, so that three digits tell its ticks apart."""
        shown = np.concatenate([s.data["smooth"] for (_, n), s in self._sources.items() if n == name] or [np.zeros(0)])
        return 0.2 * float(np.abs(shown[np.isfinite(shown)]).max(initial=0.0)) or 2.0

    def _line(self, fig: Any, at: int, run_id: str, name: str) -> LegendItem | None:
        """One run's curve: the smoothed line, and the raw one pale behind it when there is smoothing."""
        if name not in self.state.source.summary([run_id])["name"].to_list():
            return None
        source: Any = ColumnDataSource()
        source.data = self._data(run_id, name)
        self._sources[run_id, name] = source
        look = {
            "line_color": display.CATEGORICAL[at % len(display.CATEGORICAL)],
            "line_dash": self._dash(at),
        }
        renderers = []
        if self.state.smoothing > 0:
            renderers.append(fig.line("x", "raw", source=source, line_alpha=0.25, line_width=1, **look))
        line = fig.line("x", "smooth", source=source, line_width=2, **look)
        if source.data["x"].size == 1:
            renderers.append(fig.scatter("x", "smooth", source=source, size=7, color=look["line_color"]))
        tips = [("run", run_id), (self.state.x, "@x{0.[00]}"), (name, "@raw{0.0000}")]
        fig.add_tools(HoverTool(renderers=[line], tooltips=tips, point_policy="snap_to_data", visible=False))
        return LegendItem(label=short_id(run_id), renderers=[line, *renderers])

    def _dash(self, at: int) -> str:
        """Of two runs the second is dashed, so that the first shows where both went alike."""
        return DASHES[at if len(self.runs) == 2 else at // len(display.CATEGORICAL) % len(DASHES)]

    def _data(self, run_id: str, name: str) -> dict[str, np.ndarray]:
        curve = self.state.curve(run_id, name)
        if self.state.log_x:  # step 0 has no place on a logarithmic axis
            curve = {column: values[curve["x"] > 0] for column, values in curve.items()}
        if self.state.log_y:
            curve |= {column: np.where(curve[column] > 0, curve[column], np.nan) for column in ("raw", "smooth")}
        return curve


def short_id(run_id: str) -> str:
    """A run id without its date: `20260101-101500-lanes-72ac55` is `lanes-72ac55`."""
    return run_id.split("-", 2)[-1]
