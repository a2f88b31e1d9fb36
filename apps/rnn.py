"""When does parallel-in-time pay? The published 665× in its parts, residuals by iteration, iterations against λ."""

import html
from typing import Any

import panel_material_ui as pmui

from apps import rnn_data, rnn_lab, rnn_state
from apps.curves import short_id
from apps.figures import beside, pane
from apps.live import follow
from apps.rnn_data import CELLS, Chain
from apps.rnn_figures import chain_figure, residual_figure, sweep_figure
from apps.rnn_lab import LabState
from apps.rnn_state import RnnState
from apps.rnn_tables import chain_html, residual_html, sweep_html
from apps.rnn_try import Lab
from apps.shell import card, copy_button, downloads, empty, group, markup, page, reset_button, sync_url, trouble
from apps.source import Source
from apps.style import NUMBERS, evidence_mark, runs_link
from workbench import display

SENTENCE = (
    "All steps of a recurrence at once, by Newton and parallel scans: what part of the published speed-up is that?"
)
COMMAND = "workbench reproduce pararnn"
_LOOK = """
h3{font-size:15px;margin:0;font-weight:650}
.two{display:grid;grid-template-columns:max-content 1fr;gap:0 28px;margin:.35rem 0 .2rem}
.two strong{display:block;font-size:1.55rem;line-height:1.2;font-weight:650}
.two span{font-size:13px}
.numbers td.word:nth-child(3){min-width:11rem}
"""


def create(source: Source) -> pmui.Page:
    """The page for one session."""
    state = RnnState(source, rnn_data.benchmark_file())
    try:
        source.claims()
    except ValueError as error:
        return page("rnn", SENTENCE, [], [trouble(error)])
    lab = LabState()
    sync_url(state, rnn_state.URL)
    sync_url(lab, rnn_lab.URL)
    return RnnView(state, lab).page()


class RnnView:
    """The widgets of the page, wired to its state; each method redraws one part."""

    def __init__(self, state: RnnState, lab: LabState) -> None:
        self.state = state
        self.head, self.told = markup("", _LOOK), markup("", NUMBERS, _LOOK)
        self.chains, self.residuals, self.sweep = (beside() for _ in range(3))
        self.controls = _controls(state)
        self.lab = Lab(lab)
        self.copies = [copy_button(text) for text in (state.python, state.residual_python, state.sweep_python)]
        state.param.watch(lambda *_: self.redraw(), ["run", "version"])
        state.param.watch(lambda *_: self.draw_chains(), "origin")
        state.param.watch(lambda *_: self.draw_residuals(), ["cells", "lengths", "solvers"])
        follow(state.source, lambda: state.param.update(version=state.source.version))
        self.redraw()

    def page(self) -> pmui.Page:
        """The page around the view."""
        frames = {
            "seconds": self.state.table, "residuals": self.state.residual_table, "lyapunov": self.state.sweep_table,
        }  # fmt: skip
        seconds, residuals, sweep = (
            [*downloads(frame, f"pararnn-{name}"), button]
            for (name, frame), (button, _) in zip(frames.items(), self.copies, strict=True)
        )
        main = [
            card(self.head, self.chains, self.told, title="Where the speed-up comes from", tools=seconds),
            card(self.residuals, title="Residual by iteration", tools=residuals),
            card(self.sweep, title="Iterations against λ", tools=sweep),
            self.lab.card(),
        ]
        run, origin, *curves = self.controls
        bar = [group("Run", run, origin), group("Residuals", *curves, reset_button(self.state.reset))]
        return page("rnn", SENTENCE, bar, main)

    def redraw(self) -> None:
        """Everything that follows from the runs of the store."""
        _renew_options(self.controls, self.state)
        self.draw_chains()
        self.draw_residuals()
        frame, run_id = self.state.sweep()
        self._renew_copies()
        if frame.height:
            table = markup(sweep_html(frame), NUMBERS)
            self.sweep.objects = [pane(sweep_figure(frame)), markup(_sweep_note(run_id)), table]
        else:
            self.sweep.objects = [empty("No run has swept λ yet", COMMAND)]

    def draw_chains(self) -> None:
        """The speed-up in its parts, and the same numbers as a table."""
        chains, run_id, told = self.state.timed()
        self._renew_copies()
        if not chains:
            self.head.object = self.told.object = ""
            self.chains.objects = [empty("No run has timed a loop against the parallel form yet", COMMAND)]
            return
        published = rnn_data.published(self.state.source)
        self.head.object = _reading()
        self.chains.objects = [
            pane(chain_figure(chain, published.get(chain.cell)), markup(_block(chain), _LOOK)) for chain in chains
        ]
        where = self._where(run_id) if run_id else _machine(told)
        self.told.object = chain_html(chains) + f'<p class="dim small">{evidence_mark("measured")} {where}</p>'

    def draw_residuals(self) -> None:
        """The residual curves that pass the filters, a figure a cell."""
        self._renew_copies()
        drawn = self.state.drawn()
        if not self.state.curves():
            self.residuals.objects = [empty("No run has logged residuals yet", COMMAND)]
        elif not drawn:
            self.residuals.objects = [markup(_NO_CURVE)]
        else:
            cells = dict.fromkeys(curve.cell for curve in drawn)
            figures = [residual_figure(self.state, c, [curve for curve in drawn if curve.cell == c]) for c in cells]
            table = markup(residual_html(self.state.residual_table()), NUMBERS)
            self.residuals.objects = [*map(pane, figures), markup(_residual_note(self.state.curve_run())), table]

    def _renew_copies(self) -> None:
        for _, renew in self.copies:
            renew()

    def _where(self, run_id: str) -> str:
        row = self.state.source.runs().filter(run_id=run_id).row(0, named=True)
        machine = self.state.source.machine(run_id)
        return f"{_run_link(run_id)}, {row['started']:%d %B %Y}, {html.escape(machine)}. {_TURNS}"


_NO_CURVE = '<p class="dim" style="padding:2rem 0">No curve passes these filters.</p>'
_TURNS = "The ways take turns; a factor is the ratio of medians, its range that of the single turns."


def _run_link(run_id: str) -> str:
    return f'<a href="{runs_link(run_id)}">{html.escape(short_id(run_id))}</a>'


def _reading() -> str:
    """What the two figures of each cell say, whatever they are."""
    return (
        "<p>The paper divides the time of a loop over the steps by that of its parallel form. Most of that ratio is "
        "what it costs to <em>dispatch</em> every step from Python, and to run a step as several kernels, not one. "
        "A compiled loop, <code>lax.scan</code>, saves both and computes the same. "
        "<strong>The ratio to lax.scan is the honest one.</strong></p>"
    )


def _block(chain: Chain) -> str:
    """Both ratios of a cell in the same size, side by side."""
    loop, scan = chain.ratio(next(iter(chain.seconds)), "newton"), chain.ratio("scan", "newton")
    slower = scan is not None and scan < 1
    ink = display.PALETTE["contradiction" if slower else "measured"]
    word = f"against lax.scan{f': {display.number(1 / scan, 2)} times slower' if scan and slower else ''}"
    size = f' <span class="dim small">{html.escape(chain.size)}</span>' if chain.size else ""
    return (
        f"<div><h3>{CELLS.get(chain.cell, html.escape(chain.cell))}{size}</h3><div class='two'>"
        f"<div><strong>{_times(loop)}</strong><span>against the loop</span></div>"
        f'<div><strong style="color:{ink}">{_times(scan)}</strong><span>{word}</span></div></div></div>'
    )


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{display.number(ratio)}×"


def _machine(told: dict[str, Any]) -> str:
    machine = told.get("machine", {})
    where = f"{machine.get('cpu') or 'a processor'}, {machine.get('cores', '?')} cores"
    return f"benchmark of {html.escape(str(told.get('measured', ''))[:10])}, {html.escape(where)}. {_TURNS}"


def _residual_note(run_id: str) -> str:
    return (
        f'<p class="dim small">{evidence_mark("measured")} {_run_link(run_id)}. The residual is '
        "max |hₜ − f(hₜ₋₁, xₜ)| over all steps and sequences; the dashed line is what counts as machine precision.</p>"
    )


def _sweep_note(run_id: str) -> str:
    return (
        f'<p class="dim small">{evidence_mark("measured")} {_run_link(run_id)}. Left of the dashed line the recurrence '
        "forgets its start (λ &lt; 0) and few iterations do; right of it it is chaotic, and solving all steps at once "
        "does not pay. Open marks, and dashes in the table: no convergence within the bound.</p>"
    )


def _controls(state: RnnState) -> list[Any]:
    wide = {"sizing_mode": "stretch_width"}
    run = pmui.Select.from_param(state.param.run, label="Run of the study", options={}, **wide)
    origin = pmui.RadioButtonGroup.from_param(
        state.param.origin, label="Seconds", options={"run": "run", "benchmark": "benchmark"}, size="small", **wide
    )
    cells = pmui.CheckBoxGroup.from_param(state.param.cells, label="Cell", options={})
    lengths = pmui.CheckBoxGroup.from_param(state.param.lengths, label="Steps", options={})
    solvers = pmui.CheckBoxGroup.from_param(state.param.solvers, label="Solver", options=[])
    return [run, origin, cells, lengths, solvers]


def _renew_options(controls: list[Any], state: RnnState) -> None:
    run, origin, cells, lengths, solvers = controls
    rows = state.runs()
    labels = {f"{short_id(row['run_id'])}, {row['started']:%d %b %H:%M}": row["run_id"] for row in rows.to_dicts()}
    other = {} if state.run in ("", *labels.values()) else {f"{state.run} (not here)": state.run}
    run.options = {"the newest": ""} | labels | other
    origin.visible = state.record is not None
    curves = state.curves()
    cells.options = {CELLS.get(c, c): c for c in sorted({curve.cell for curve in curves} | set(state.cells))}
    lengths.options = {str(n): n for n in sorted({curve.length for curve in curves} | set(state.lengths))}
    solvers.options = sorted({curve.solver for curve in curves} | set(state.solvers))
