"""Curves on a page: the figures side by side, and the controls of their metrics and axes."""

from collections.abc import Callable
from typing import Any

import panel_material_ui as pmui

from apps.curves import Curves
from apps.curves_state import CurvesState
from apps.figures import beside, pane

REDRAW = ["metrics", "x", "log_x", "log_y", "smoothing"]  # what the controls change


class CurvesView:
    """The figures of a state as panes; `nothing` gives what stands in their place when there is no curve."""

    def __init__(self, state: CurvesState, nothing: Callable[[], Any]) -> None:
        self.state, self._nothing = state, nothing
        self.box, self.controls = beside(), _controls(state)

    def draw(self) -> None:
        """The figures of the present choice."""
        self.controls[0].options = sorted(set(self.state.metric_names()) | set(self.state.metrics))
        self.curves = Curves(self.state)
        self.box.objects = [pane(figure) for figure in self.curves.figures] or [self._nothing()]

    def refresh(self) -> None:
        """The store has changed: extend the curves, which keeps the zoom, or draw others where runs or metrics came."""
        if (self.curves.runs, self.curves.metrics) == (self.state.drawn(), self.state.drawn_metrics()):
            self.curves.update()
        else:
            self.draw()


def _controls(state: CurvesState) -> list[Any]:
    wide = {"sizing_mode": "stretch_width"}
    metrics = pmui.MultiChoice.from_param(state.param.metrics, label="Metrics", options=[], **wide)
    x = pmui.RadioButtonGroup.from_param(
        state.param.x, label="Horizontal axis", options={"step": "step", "time (s)": "time"}, size="small", **wide
    )
    log_x = pmui.Switch.from_param(state.param.log_x, label="log horizontal")
    log_y = pmui.Switch.from_param(state.param.log_y, label="log vertical")
    smoothing = pmui.FloatSlider.from_param(
        state.param.smoothing, label="Smoothing (0: none)", start=0, end=0.99, step=0.01, size="small", **wide
    )
    return [metrics, x, log_x, log_y, smoothing]
