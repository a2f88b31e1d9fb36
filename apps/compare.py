"""Compare two runs: their curves over each other, their last values, what differs, the claims that both tested."""

import html
from typing import Any

import panel_material_ui as pmui

from apps import compare_state, curves_view
from apps.compare_state import CompareState
from apps.compare_tables import CLAIMS, PAIR, claims_html, pair_html, values_html
from apps.curves_view import CurvesView
from apps.live import follow
from apps.runs_tables import difference_html
from apps.shell import card, copy_button, downloads, empty, group, markup, page, sync_url
from apps.source import Source
from apps.style import NUMBERS

SENTENCE = "Two runs side by side: how they went, where they ended, and what was different about them."
_VALUES = """
.numbers td.word{min-width:7.5rem}
@media(max-width:600px){.numbers td,.numbers th{padding-right:.5rem}}
"""


def create(source: Source) -> pmui.Page:
    """The page for one session."""
    state = CompareState(source)
    sync_url(state, compare_state.URL)
    state.settle()
    return CompareView(state).page()


class CompareView:
    """The widgets of the page, wired to its state; each method redraws one part."""

    def __init__(self, state: CompareState) -> None:
        self.state = state
        self.curves = CurvesView(state, self._nothing)
        self.head, self.values = markup("", PAIR), markup("", NUMBERS, _VALUES)
        self.diff, self.claims = markup(""), markup("", NUMBERS, CLAIMS)
        texts = (state.python, state.values_python, state.claims_python)
        self.copies = [copy_button(text) for text in texts]
        self.below = self._cards()
        self.selects = [self._select(at, label) for at, label in enumerate(("A", "B"))]
        state.param.watch(lambda *_: self.draw(), "runs")
        state.param.watch(lambda *_: self.draw_curves(), curves_view.REDRAW)
        state.param.watch(lambda *_: self.refresh(), "version")
        follow(state.source, lambda: state.param.update(version=state.source.version))
        self.draw()

    def page(self) -> pmui.Page:
        """The page around the view."""
        swap = pmui.Button(label="Swap A and B", icon="swap_vert", variant="text", size="small")
        swap.on_click(lambda _: self.state.swap())
        main = [card(self.head, self.curves.box, title="Curves", tools=[self.copies[0][0]]), *self.below]
        controls = [group("Runs", *self.selects, swap), group("Curves", *self.curves.controls)]
        return page("compare", SENTENCE, controls, main)

    def draw(self) -> None:
        """Everything, for another pair."""
        self.draw_curves()
        self._tell()

    def draw_curves(self) -> None:
        """The curves, for another choice of metrics and axes."""
        self.curves.draw()
        self.copies[0][1]()

    def refresh(self) -> None:
        """The store has changed: extend the curves and renew the numbers; a run may have come to compare with."""
        if not self.state.pair():
            self.state.settle()
        self.curves.refresh()
        self._tell()

    def _select(self, at: int, label: str) -> pmui.Select:
        select = pmui.Select(label=label, options={}, searchable=True, sizing_mode="stretch_width")
        select.param.watch(lambda event: event.new and self.state.choose(at, event.new), "value")
        return select

    def _cards(self) -> list[Any]:
        (_, (values, _), (claims, _)), state = self.copies, self.state
        return [
            card(self.values, title="Last values", tools=[*downloads(state.values, "values"), values]),
            card(self.diff, title="What differs"),
            card(self.claims, title="Claims that both tested", tools=[*downloads(state.claims, "claims"), claims]),
        ]

    def _tell(self) -> None:
        """What is written: which runs, the tables, and the texts to copy."""
        state, pair = self.state, self.state.pair()
        for select, run_id in zip(self.selects, [*state.runs, None, None], strict=False):
            select.param.update(options=state.options(), value=run_id)
        for _, renew in self.copies:
            renew()
        self.head.object = pair_html(state.source.runs(), pair) if pair else ""
        for shown in self.below:
            shown.visible = pair is not None
        if pair:
            self.values.object = values_html(state.values())
            self.diff.object = difference_html(state.differences(), *pair)
            claims = state.claims()
            self.claims.object = claims_html(claims)
            self.below[-1].visible = claims.height > 0

    def _nothing(self) -> Any:
        """What stands in place of the curves: what to run, which id is unknown, or that no metric is shared."""
        state = self.state
        if not state.source.runs().height:
            return empty("No run is in the store yet", "workbench reproduce")
        unknown = state.unknown()
        if unknown:
            said = f"{html.escape(unknown)} Choose another run among the controls, or see <a href='runs'>all runs</a>."
            return pmui.Alert(title="No such run", object=said, severity="warning", sizing_mode="stretch_width")
        if not state.pair():
            return empty("Only one run is in the store, and nothing to hold it against", state.command())
        return markup('<p class="dim" style="padding:2rem 0">The two runs have no metric in common.</p>')
