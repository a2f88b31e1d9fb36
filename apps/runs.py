"""Runs: curves of the selected runs over each other, the list to select from, and what differs between two of them."""

from typing import Any

import panel as pn
import panel_material_ui as pmui

from apps import runs_state
from apps.curves import Curves
from apps.live import follow
from apps.runs_state import STATUS, RunsState
from apps.runs_tables import difference_html, list_frame, list_table, numbers_html
from apps.shell import card, copy_button, downloads, empty, group, markup, page, reset_button, sync_url
from apps.source import Source

SENTENCE = "Everything that was run here, running or ended: select runs to lay their curves over each other."
_REDRAW = ["selected", "metrics", "x", "log_x", "log_y", "smoothing"]

# Two figures beside each other where there is room, below each other on a phone.
_BESIDE = {"flex": "1 1 min(400px, 100%)", "min-width": "0"}


def create(source: Source) -> pmui.Page:
    """The page for one session."""
    state = RunsState(source)
    sync_url(state, runs_state.URL)
    state.select_newest()
    return RunsView(state).page()


class RunsView:
    """The widgets of the page, wired to its state; each method redraws one part."""

    def __init__(self, state: RunsState) -> None:
        self.state = state
        self.plots = pn.FlexBox(sizing_mode="stretch_width", margin=0, gap="12px")
        self.told, self.numbers, self.diff = markup(""), markup(""), markup("")
        self.diff_card = card(self.diff, title="What differs")
        self.table = list_table()
        self.ids: list[str] = []
        self.copy, self._renew_copy = copy_button(state.python)
        self.filters, self.axes = _filters(state), _axes(state)
        self._filling = False
        self.table.param.watch(self._picked, "selection")
        state.param.watch(lambda *_: self.list_runs(), ["studies", "statuses", "tags", "text"])
        state.param.watch(lambda *_: self.draw(), _REDRAW)
        state.param.watch(lambda *_: self.refresh(), "version")
        follow(state.source, lambda: state.param.update(version=state.source.version))
        self.list_runs()
        self.draw()

    def page(self) -> pmui.Page:
        """The page around the view."""
        main = [
            card(self.plots, title="Curves", tools=[self.copy]),
            card(self.told, self.table, title="Runs", tools=downloads(self.state.rows, "runs")),
            self.diff_card,
            card(self.numbers, title="Numbers of the selected runs"),
        ]
        controls = group("Filter", *self.filters, reset_button(self.state.reset))
        return page("runs", SENTENCE, [controls, group("Curves", *self.axes)], main)

    def refresh(self) -> None:
        """The store has changed: patch the list, extend the curves, keep selection and zoom."""
        self.list_runs()
        if not self.state.selected:
            self.state.select_newest()
        elif (self.curves.runs, self.curves.metrics) == (self.state.drawn(), self.state.drawn_metrics()):
            self.curves.update()
            self._below()
        else:
            self.draw()

    def list_runs(self) -> None:
        """The list, with the selected runs ticked again."""
        rows = self.state.rows()
        shown, ids = list_frame(rows), rows["run_id"].to_list()
        self._filling = True
        try:
            if not shown.equals(self.table.value):
                self.table.value = shown
            self.ids = ids
            self.table.selection = [ids.index(run_id) for run_id in self.state.selected if run_id in ids]
        finally:
            self._filling = False
        self.told.object = f'<p class="dim small">{rows.height} of {self.state.source.runs().height} runs</p>'
        _renew_options(self.filters, self.state)

    def draw(self) -> None:
        """The figures of the present choice, and what stands below them."""
        self.axes[0].options = sorted(set(self.state.metric_names()) | set(self.state.metrics))
        self.curves = Curves(self.state)
        if not self.state.source.runs().height:
            self.plots.objects = [empty("No run is in the store yet", "workbench reproduce")]
        elif not self.curves.figures:
            self.plots.objects = [markup(f'<p class="dim" style="padding:2rem 0">{self._nothing()}</p>')]
        else:
            look: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": 0, "styles": _BESIDE}
            self.plots.objects = [pn.pane.Bokeh(fig, **look) for fig in self.curves.figures]
        self._below()

    def _nothing(self) -> str:
        if not self.state.drawn():
            return "Tick a run in the list to see its curves."
        return "The selected runs have logged no metrics."

    def _below(self) -> None:
        drawn = self.state.drawn()
        self.numbers.object = numbers_html(self.state.source.summary(drawn), drawn) if drawn else _hint()
        self.diff_card.visible = len(drawn) > 1
        if len(drawn) > 1:
            left = f" (the first two of {len(drawn)} selected)" if len(drawn) > 2 else ""
            self.diff.object = difference_html(self.state.source.differences(*drawn[:2]), *drawn[:2], left)
        self._renew_copy()

    def _picked(self, event: Any) -> None:
        """The ticks of the list as run ids; selected runs that the filter hides stay selected."""
        if self._filling:
            return
        ticked = [self.ids[at] for at in event.new if at < len(self.ids)]
        kept = [run_id for run_id in self.state.selected if run_id in ticked or run_id not in self.ids]
        self.state.selected = kept + [run_id for run_id in ticked if run_id not in kept]


def _hint() -> str:
    return '<p class="dim">Tick a run in the list.</p>'


def _filters(state: RunsState) -> list[Any]:
    wide = {"sizing_mode": "stretch_width"}
    text = pmui.TextInput.from_param(state.param.text, label="Search", placeholder="id, note, config", **wide)
    studies = pmui.MultiChoice.from_param(state.param.studies, label="Study", options=[], **wide)
    tags = pmui.MultiChoice.from_param(state.param.tags, label="Tag", options=[], **wide)
    status = pmui.CheckBoxGroup.from_param(state.param.statuses, label="Status", options={})
    return [text, studies, tags, status]


def _axes(state: RunsState) -> list[Any]:
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


def _renew_options(filters: list[Any], state: RunsState) -> None:
    _, studies, tags, status = filters
    studies.options = sorted(set(state.options("study")) | set(state.studies))
    tags.options = sorted(set(state.options("tags")) | set(state.tags))
    have = set(state.options("status")) | set(state.statuses)
    counts = dict(state.source.runs()["status"].value_counts().iter_rows())
    status.options = {f"{icon} {name} ({counts.get(name, 0)})": name for name, icon in STATUS.items() if name in have}
