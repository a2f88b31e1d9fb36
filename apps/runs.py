"""Runs: curves of the selected runs over each other, the list to select from, and what differs between two of them."""

from typing import Any

import panel_material_ui as pmui

from apps import curves_view, runs_state
from apps.curves_view import CurvesView
from apps.live import follow
from apps.runs_state import STATUS, RunsState
from apps.runs_tables import difference_html, list_frame, list_table, numbers_html
from apps.shell import card, copy_button, downloads, empty, group, markup, page, reset_button, sync_url
from apps.source import Source
from apps.style import compare_link

SENTENCE = "Everything that was run here, running or ended: select runs to lay their curves over each other."


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
        self.curves = CurvesView(state, self._nothing)
        self.told, self.numbers, self.diff = markup(""), markup(""), markup("")
        self.diff_card = card(self.diff, title="What differs")
        self.table = list_table()
        self.ids: list[str] = []
        self.copy, self._renew_copy = copy_button(state.python)
        self.filters = _filters(state)
        self._filling = False
        self.table.param.watch(self._picked, "selection")
        state.param.watch(lambda *_: self.list_runs(), ["studies", "statuses", "tags", "text"])
        state.param.watch(lambda *_: self.draw(), ["selected", *curves_view.REDRAW])
        state.param.watch(lambda *_: self.refresh(), "version")
        follow(state.source, lambda: state.param.update(version=state.source.version))
        self.list_runs()
        self.draw()

    def page(self) -> pmui.Page:
        """The page around the view."""
        main = [
            card(self.curves.box, title="Curves", tools=[self.copy]),
            card(self.told, self.table, title="Runs", tools=downloads(self.state.rows, "runs")),
            self.diff_card,
            card(self.numbers, title="Numbers of the selected runs"),
        ]
        controls = group("Filter", *self.filters, reset_button(self.state.reset))
        return page("runs", SENTENCE, [controls, group("Curves", *self.curves.controls)], main)

    def refresh(self) -> None:
        """The store has changed: patch the list, extend the curves, keep selection and zoom."""
        self.list_runs()
        if not self.state.selected:
            self.state.select_newest()
        else:
            self.curves.refresh()
            self._below()

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
        self.curves.draw()
        self._below()

    def _nothing(self) -> Any:
        if not self.state.source.runs().height:
            return empty("No run is in the store yet", "workbench reproduce")
        drawn = self.state.drawn()
        why = "The selected runs have logged no metrics." if drawn else "Tick a run in the list to see its curves."
        return markup(f'<p class="dim" style="padding:2rem 0">{why}</p>')

    def _below(self) -> None:
        drawn = self.state.drawn()
        self.numbers.object = numbers_html(self.state.source.summary(drawn), drawn) if drawn else _hint()
        self.diff_card.visible = len(drawn) > 1
        if len(drawn) > 1:
            left = f" (the first two of {len(drawn)} selected)" if len(drawn) > 2 else ""
            table = difference_html(self.state.source.differences(*drawn[:2]), *drawn[:2], left)
            self.diff.object = f'<p><a href="{compare_link(*drawn[:2])}">Compare these two runs</a></p>{table}'
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


def _renew_options(filters: list[Any], state: RunsState) -> None:
    _, studies, tags, status = filters
    studies.options = sorted(set(state.options("study")) | set(state.studies))
    tags.options = sorted(set(state.options("tags")) | set(state.tags))
    have = set(state.options("status")) | set(state.statuses)
    counts = dict(state.source.runs()["status"].value_counts().iter_rows())
    status.options = {f"{icon} {name} ({counts.get(name, 0)})": name for name, icon in STATUS.items() if name in have}
