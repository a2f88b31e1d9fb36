"""The lab on the page: choose a recurrence and a solver, and see what comes of it within a second."""

import asyncio
import html
from typing import Any

import panel as pn
import panel_material_ui as pmui
import polars as pl

from apps.figures import pane, part
from apps.rnn_figures import answer_figure
from apps.rnn_lab import LENGTHS, METHODS, SETTINGS, Answer, LabState
from apps.rnn_tables import history_html
from apps.shell import card, copy_button, downloads, markup
from apps.style import NUMBERS, definitions, evidence_mark
from workbench import display

_SAID = (
    '<p class="dim">Solves a small recurrence on this machine, in float32, and steps through it with lax.scan beside '
    "it. The first solve of a size compiles for some seconds, later ones take a moment.</p>"
)


class Lab:
    """The controls of the lab and what the last solve gave."""

    def __init__(self, state: LabState) -> None:
        self.state = state
        what, lo, hi, _ = SETTINGS[state.recurrence]
        self.setting = pmui.FloatSlider(label=what, start=lo, end=hi, step=0.01, value=state.bounded(), width=240)
        self.button = pmui.Button(label="Solve", icon="play_arrow", variant="contained", size="medium")
        self.result = pn.FlexBox(markup(_SAID), sizing_mode="stretch_width", margin=0, gap="12px")
        self.setting.param.watch(lambda event: state.param.update(setting=event.new), "value")
        state.param.watch(lambda *_: self._renew(), "recurrence")
        self.button.on_click(self._solve)
        self.answer: Answer | None = None
        copy, self._renew_copy = copy_button(lambda: self.answer.python if self.answer else "")
        self.tools = [*downloads(self._table, "residuals"), copy]

    def card(self) -> Any:
        """The lab as a card of the page."""
        state = self.state
        maps = pmui.Select.from_param(state.param.recurrence, label="Recurrence", options=list(SETTINGS), width=200)
        length = pmui.Select.from_param(state.param.length, label="Steps", options=list(LENGTHS), width=120)
        method = pmui.Select.from_param(state.param.method, label="Solver", options=list(METHODS), width=220)
        bar = pmui.Row(
            maps, self.setting, length, method, self.button, sizing_mode="stretch_width",
            sx={"flexWrap": "wrap", "alignItems": "center", "gap": "4px 8px"},
        )  # fmt: skip
        return card(bar, self.result, title="Try it")

    def _table(self) -> pl.DataFrame:
        return self.answer.table() if self.answer else pl.DataFrame()

    def _renew(self) -> None:
        """Another recurrence: its setting opens where it is interesting."""
        what, lo, hi, opens = SETTINGS[self.state.recurrence]
        self.setting.param.update(label=what, start=lo, end=hi, value=opens)

    async def _solve(self, _: Any) -> None:
        self.button.param.update(disabled=True, label="Solving")
        try:
            answer = await asyncio.to_thread(self.state.solve)
        finally:
            self.button.param.update(disabled=False, label="Solve")
        self.answer = answer
        self._renew_copy()
        tools = pmui.Row(*self.tools, sx={"flexWrap": "wrap", "gap": "6px"}, sizing_mode="stretch_width")
        self.result.objects = [
            pane(answer_figure(answer), share=3),
            part(markup(answer_html(answer)), share=2, least=280),
            part(tools, markup(history_html(answer.table()), NUMBERS), least=280),
        ]


def answer_html(answer: Answer) -> str:
    """What the solve gave, in words and numbers."""
    facts = {
        "status": f"<strong>{html.escape(answer.status.replace('_', ' '))}</strong>",
        "iterations": display.number(answer.iterations),
        "λ": f"{answer.lyapunov:+.3f} a step: {_meaning(answer.lyapunov)}",
        "error": f"{display.number(answer.error)}, largest difference from lax.scan",
        "time of a call": f"{display.number(answer.seconds * 1e3)} ms; "
        f"lax.scan {display.number(answer.scan_seconds * 1e3)} ms",
        "evidence": evidence_mark("measured"),
    }
    return f"<p><strong>{html.escape(answer.title)}</strong></p>{definitions(facts)}"


def _meaning(exponent: float) -> str:
    if exponent < 0:
        return "it forgets its start, so all steps can be solved at once"
    return "chaotic, so no solver can be expected to converge in few iterations"
