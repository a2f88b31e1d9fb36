"""Is it what the paper said? The signature plot of all claims; a click on a mark or a row opens the evidence."""

import html
from typing import Any

import panel as pn
import panel_material_ui as pmui
import polars as pl

from apps import claims_state
from apps.claims_state import ClaimsState, claim_python
from apps.evidence import STYLE, evidence
from apps.live import follow
from apps.scoreboard import matrix_html
from apps.shell import card, copy_button, downloads, empty, group, markup, page, reset_button, sync_url, trouble
from apps.source import Source
from apps.style import MATRIX, TABLE
from workbench import display
from workbench.report import ours
from workbench.signature import remainder, signature

SENTENCE = "Published figures against what was found here: a row a claim, the paper at the dashed line."
MOST_DRAWN = 40
_COLUMNS = {
    "statement": "claim", "verdict": "verdict", "published": "published", "here": "here", "ratio": "ratio",
    "evidence": "evidence", "paper": "paper",
}  # fmt: skip
_WIDTHS = {"statement": 350, "published": 120, "here": 165, "ratio": 75, "paper": 100}


def create(source: Source) -> pmui.Page:
    """The page for one session."""
    state = ClaimsState(source)
    try:
        source.claims()
    except ValueError as error:
        return page("claims", SENTENCE, [], [trouble(error)])
    sync_url(state, claims_state.URL)
    return ClaimsView(state).page()


class ClaimsView:
    """The widgets of the page, wired to its state; each method redraws one part."""

    def __init__(self, state: ClaimsState) -> None:
        self.state = state
        self.matrix = markup("", MATRIX)
        self.figures = pn.Column(sizing_mode="stretch_width", margin=0)
        self.table = _table()
        self.ids: list[str] = []
        self.narrow: bool | None = None  # until the browser has told, a skeleton stands where the figure will
        self.told = markup("")
        self.evidence = markup("", STYLE)
        self.drawer, self.panel = _drawer(self.evidence)
        self.copy, self._renew_copy = copy_button(state.python)
        self.copy_claim, self._renew_claim_copy = copy_button(self._claim_python)
        self.filters = _filters(state)
        self.table.on_click(self._clicked)
        state.param.watch(lambda *_: self.redraw(), ["papers", "verdicts", "evidence", "text", "version"])
        state.param.watch(lambda *_: self.show(), "claim")
        self.drawer.param.watch(self._closed, "open")
        follow(state.source, lambda: state.param.update(version=state.source.version))
        self.redraw()
        self.show()

    def page(self) -> pmui.Page:
        """The page around the view."""
        main = [
            card(self.matrix, title="Papers × verdicts"),
            card(self.figures, title="Ours against the paper"),
            card(self.told, self.table, title="Claims", tools=[*downloads(self.state.rows, "claims"), self.copy]),
        ]
        self.panel.append(self.copy_claim)
        controls = group("Filter", *self.filters, reset_button(self.state.reset))
        return page("claims", SENTENCE, [controls], main, self.drawer, self._narrow)

    def redraw(self) -> None:
        """Everything that follows from the filters and the store."""
        rows = self.state.rows()
        self.matrix.object = matrix_html(self.state.rows("papers"), self.state.source)
        self.figures.objects = self._figures(rows)
        shown = _shown(rows)
        if not shown.equals(self.table.value):
            self.table.value, self.ids = shown, rows["claim_id"].to_list()
        drawn = f"{rows.height} of {self.state.all_rows().height} claims"
        self.told.object = f'<p class="dim small">{drawn}. Click one for its evidence.</p>'
        _renew_options(self.filters, self.state)
        self._renew_copy()
        if self.state.claim:
            self.show()

    def show(self) -> None:
        """Open the evidence of the chosen claim, or close the drawer."""
        row = self.state.chosen()
        if row is not None:
            frame = self.state.all_rows().filter(pl.col("claim_id") == row["claim_id"])
            self.evidence.object = evidence(row, frame)
            self._renew_claim_copy()
        self.drawer.open = row is not None

    def _narrow(self, narrow: bool) -> None:
        if narrow != self.narrow:
            self.narrow = narrow
            self.table.widths = _WIDTHS | ({"statement": 200} if narrow else {})
            self.figures.objects = self._figures(self.state.rows())

    def _figures(self, rows: pl.DataFrame) -> list[Any]:
        if not rows["run_id"].drop_nulls().len():
            return [empty("None of these claims has been tested here yet", "workbench reproduce")]
        if self.narrow is None:
            return [pmui.Skeleton(height=320, sizing_mode="stretch_width", margin=0)]
        tested = rows.filter(pl.col("run_id").is_not_null())
        return [
            self._figure(tested, "above" if self.narrow else "left"),
            markup(f'<p class="dim small">{_note(rows)}</p>'),
        ]

    def _figure(self, rows: pl.DataFrame, labels: str) -> pn.pane.Bokeh:
        figure = signature(rows, labels=labels, limit=MOST_DRAWN)
        source = figure.select_one({"name": "marks"}).data_source

        def tapped(_: str, __: Any, indices: list[int]) -> None:
            if indices:
                self.state.claim = source.data["claim_id"][indices[0]]
                source.selected.indices = []

        source.selected.on_change("indices", tapped)
        return pn.pane.Bokeh(figure, sizing_mode="stretch_width", margin=0)

    def _clicked(self, event: Any) -> None:
        self.state.claim = self.ids[event.row]

    def _closed(self, event: Any) -> None:
        if not event.new:
            self.state.claim = ""

    def _claim_python(self) -> str:
        row = self.state.chosen()
        return "" if row is None else claim_python(row, self.state.source)


def _note(rows: pl.DataFrame) -> str:
    mark = display.EVIDENCE
    key = f"{mark['measured']} measured &nbsp; {mark['simulated']} simulated &nbsp; {mark['modelled']} modelled &nbsp; "
    return f"{key}┆ published &nbsp; ▒ within the tolerance. {remainder(rows)}"


def _table() -> pn.widgets.Tabulator:
    import pandas as pd

    return pn.widgets.Tabulator(
        pd.DataFrame(columns=list(_COLUMNS)), titles=_COLUMNS, show_index=False, disabled=True, selectable=False,
        pagination="remote", page_size=20, layout="fit_data_stretch", sizing_mode="stretch_width", margin=0,
        formatters={"verdict": {"type": "html"}, "evidence": {"type": "html"}, "statement": {"type": "html"},
                    "published": {"type": "textarea"}},
        widths=_WIDTHS, stylesheets=[TABLE],
    )  # fmt: skip


def _shown(rows: pl.DataFrame) -> Any:
    """The rows as the table shows them; pandas, because Tabulator takes nothing else."""
    import pandas as pd

    table = [
        {
            # a button, so that the keyboard reaches it; its click is the row's
            "statement": f'<button class="open" type="button">{html.escape(row["statement"])}</button>',
            "verdict": display.verdict_chip(row["verdict"]) + (" <small>stale</small>" if row["stale"] else ""),
            "published": row["published_text"] + ("" if row["verified"] else " (not verified)"),
            "here": ours(row),
            "ratio": display.number(row["ratio"]),
            "evidence": f"{display.EVIDENCE[row['evidence']]} {row['evidence']}",
            "paper": row["paper"],
        }
        for row in rows.iter_rows(named=True)
    ]
    return pd.DataFrame(table, columns=list(_COLUMNS))


def _drawer(body: Any) -> tuple[pmui.Drawer, pmui.Column]:
    close = pmui.IconButton(label="Close the evidence", icon="close", margin=0)
    panel = pmui.Column(
        pmui.Row(markup('<h2 class="dim">Evidence</h2>'), close, sizing_mode="stretch_width"), body,
        sizing_mode="stretch_width", sx={"padding": "12px 20px 28px", "boxSizing": "border-box", "gap": "4px"},
    )  # fmt: skip
    drawer = pmui.Drawer(panel, anchor="right", size=520, sx={"maxWidth": "100vw"})
    close.on_click(lambda _: setattr(drawer, "open", False))
    return drawer, panel


def _filters(state: ClaimsState) -> list[Any]:
    """The controls of the left bar, bound to the state in both directions."""
    papers = pmui.MultiChoice.from_param(state.param.papers, label="Paper", options=[], sizing_mode="stretch_width")
    verdicts = pmui.CheckBoxGroup.from_param(state.param.verdicts, label="Verdict", options={})
    marks = pmui.CheckBoxGroup.from_param(state.param.evidence, label="Evidence", options={})
    text = pmui.TextInput.from_param(
        state.param.text, label="Search", placeholder="words of a claim", sizing_mode="stretch_width"
    )
    return [text, papers, verdicts, marks]


def _renew_options(filters: list[Any], state: ClaimsState) -> None:
    """The options with the counts that the other filters leave."""
    _, papers, verdicts, marks = filters
    papers.options = sorted(set(state.all_rows()["paper"]) | set(state.papers))
    found = state.counts("verdict", "verdicts")
    verdicts.options = {
        f"{style.icon} {name} ({found.get(name, 0)})": name
        for name, style in display.VERDICTS.items()
        if name in found or name in state.verdicts
    }
    found = state.counts("evidence", "evidence")
    marks.options = {
        f"{icon} {name} ({found.get(name, 0)})": name
        for name, icon in display.EVIDENCE.items()
        if name in found or name in state.evidence
    }
