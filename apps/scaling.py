"""What are P parallel streams worth? Losses by size and streams, the size of the same loss, the cost beside it."""

import asyncio
from typing import Any

import panel as pn
import panel_material_ui as pmui
import polars as pl
from bokeh.models import OpenURL, TapTool

from apps import scaling_cost, scaling_data, scaling_state, scaling_text
from apps.figures import beside, pane, part
from apps.live import draw_soon, follow, meanwhile
from apps.scaling_data import CORPORA, FORMS, MOST_STREAMS, SIZES, STREAMS
from apps.scaling_figures import loss_figure, ratio_figure, score_figure, size_text
from apps.scaling_state import GRID, ScalingState, scores_python
from apps.shell import card, copy_button, downloads, empty, group, markup, page, reset_button, sync_url, trouble
from apps.source import Source
from apps.style import NUMBERS
from workbench.errors import NotConverged
from workbench.signature import remainder, signature

SENTENCE = (
    "One model reads the same tokens P times at once and merges what comes out. Which size is that worth, at what cost?"
)
COMMAND = "workbench reproduce parscale --preset full"
REST_S = 0.1  # a slider that stands still for so long has arrived
_LAW = ["corpus", "form", "streams", "size"]
_COST = ["corpus", "model", "priced", "devices", "input_tokens", "output_tokens"]
_LOOK = """
.answer{font-size:1.12rem;line-height:1.5;margin:.2rem 0 .4rem}
.beyond{border-left:3px solid #E69F00;padding:.15rem .7rem;margin:.2rem 0 .4rem}
.bar{display:inline-block;height:9px;background:#B9BEC6;border-radius:2px;margin-right:.4em}
h3{font-size:15px;margin:.9rem 0 .2rem;font-weight:650}
.below{display:none}
@media(max-width:600px){.bar,.trained td:nth-child(n+2),.trained th:nth-child(n+2){display:none}
.trained .below{display:block;white-space:normal;margin:.2rem 0 .3rem}}
"""


def create(source: Source) -> pmui.Page:
    """The page for one session."""
    state = ScalingState(source)
    try:
        source.claims()
    except ValueError as error:
        return page("scaling", SENTENCE, [], [trouble(error)])
    sync_url(state, scaling_state.URL)
    return ScalingView(state).page()


class ScalingView:
    """The widgets of the page, wired to its state; the first fit is made when the outline of the page is there."""

    def __init__(self, state: ScalingState) -> None:
        self.state = state
        self.narrow: bool | None = None
        self.trouble: Any = None  # why there is no fit
        self._moved = 0
        self.answer, self.losses = _text(), pn.Column(_waiting(430), margin=0, **_WIDE)
        self.facts, self.constants, self.forms = beside(), _text(), pn.Column(_waiting(180), margin=0, **_WIDE)
        self.ratios, self.told = beside(), _text()
        self.head, self.parts = _text(), beside()
        self.trained = pn.Column(margin=0, **_WIDE)
        self.copies = [copy_button(text) for text in (state.law_python, state.ratio_python, state.part_python)]
        state.param.watch(self._law_changed, _LAW)
        state.param.watch(self._cost_changed, _COST)
        state.param.watch(self._parts_changed, "batch")
        state.param.watch(lambda *_: self.draw_trained(), "version")
        follow(state.source, lambda: state.param.update(version=state.source.version))
        pn.state.onload(self._first)

    def page(self) -> pmui.Page:
        """The page around the view."""
        state, (law, ratio, parts) = self.state, (button for button, _ in self.copies)
        (scores, _), (trained, _) = copy_button(scores_python), copy_button(state.trained_python)
        main = [
            card(self.answer, self.losses, self.facts, title="What a stream is worth",
                 tools=[*downloads(state.loss_table, "parscale-losses"), law]),
            card(self.ratios, self.told, title="What it costs, at the same loss",
                 tools=[*downloads(state.ratio_table, "parscale-ratios"), ratio]),
            card(self.head, self.parts, title="Memory and latency by part",
                 tools=[*downloads(state.part_table, "parscale-parts"), parts]),
            card(_downstream(), title="Downstream", tools=[*downloads(scaling_data.scores, "parscale-scores"), scores]),
            card(self.trained, title="Measured here", tools=[*downloads(self._trained, "parscale-trained"), trained]),
        ]  # fmt: skip
        return page("scaling", SENTENCE, _controls(state), main, narrow=self._narrow)

    async def _first(self) -> None:
        """What the page opens with; the ranking of the forms takes the longest and comes last."""
        draw_soon(self.draw_trained)
        await self._fit()
        await self._cost_changed()
        await self._rank()

    async def _law_changed(self, *_: Any) -> None:
        self._moved += 1  # a slider that is dragged: its last place alone is drawn
        moved = self._moved
        await asyncio.sleep(REST_S)
        if moved == self._moved:
            await self._fit()
            await self._rank()

    async def _fit(self) -> None:
        try:
            await meanwhile(self.state.prepare, self.losses)
        except (NotConverged, ValueError) as error:
            self.trouble = trouble(error)
        else:
            self.trouble = None
        draw_soon(self.draw_law)

    async def _rank(self) -> None:
        await meanwhile(lambda: scaling_data.ranking(self.state.corpus), self.forms)
        draw_soon(self.draw_forms)

    async def _cost_changed(self, *_: Any) -> None:
        await meanwhile(self.state.price, self.ratios)
        draw_soon(self.draw_ratios)
        draw_soon(self.draw_parts)

    async def _parts_changed(self, *_: Any) -> None:
        await meanwhile(self.state.price, self.parts)
        draw_soon(self.draw_parts)

    def draw_law(self) -> None:
        """Losses, curves, the step to the size of the same loss, and the constants; or why there is no fit."""
        state = self.state
        if self.trouble is not None:
            self.answer.object, self.facts.objects, self.losses.objects = "", [], [self.trouble]
            return
        self._renew()
        self.answer.object = scaling_text.answer(state)
        notes, table = scaling_text.basis(state), scaling_text.losses_html(state)
        self.losses.objects = [pane(loss_figure(state)), markup(notes), markup(table, NUMBERS)]
        self.constants.object = f"<h3>The fitted law</h3>{scaling_text.constants_html(state)}"
        if not self.facts.objects:
            self.facts.objects = [part(self.constants, least=340), part(self.forms, least=340)]

    def draw_forms(self) -> None:
        """The forms of law, the best first."""
        ranked = scaling_data.ranking(self.state.corpus)
        table = markup(scaling_text.forms_html(self.state, ranked), NUMBERS, _LOOK)
        self.forms.objects = [markup("<h3>Which law to believe</h3>", _LOOK), table]

    def draw_ratios(self) -> None:
        """Memory and latency of parameters over those of streams, or why there is no such figure."""
        state, why = self.state, self.state.reason()
        self._renew()
        if why:
            self.ratios.objects = [markup(f'<p class="dim" style="padding:2.4rem 1rem;text-align:center">{why}</p>')]
            self.told.object = ""
            return
        published = scaling_data.published_ratios(state.source)
        self.ratios.objects = [pane(ratio_figure(state, kind, published)) for kind in ("memory", "latency")]
        self.told.object = scaling_text.cost_basis(state) + scaling_text.ratios_html(state, published)

    def draw_parts(self) -> None:
        """Memory and latency of each number of streams by part."""
        state = self.state
        self._renew()
        if not state.chosen_devices():
            self.head.object, self.parts.objects = "", [markup('<p class="dim">Choose a device.</p>')]
            return
        self.head.object = scaling_text.parts_head(state)
        tables = (scaling_text.parts_html(state, kind) for kind in ("bytes", "s"))
        titles = ("Memory, the same on every device", "Latency")
        self.parts.objects = [
            part(markup(f"<h3>{title}</h3>{table}", NUMBERS, _LOOK))
            for title, table in zip(titles, tables, strict=True)
        ]

    def draw_trained(self) -> None:
        """The claims that a training run here has tested, in the signature style."""
        rows = self._trained()
        if not rows.height:
            self.trained.objects = [empty("No training run here yet", COMMAND)]
            return
        drawn = signature(rows, labels="above" if self.narrow else "left")
        tap, where = drawn.select_one(TapTool), OpenURL(url="claims?claim=@claim_id", same_tab=True)
        tap.update(renderers=[drawn.select_one({"name": "marks"})], callback=where)
        left = markup(f'<p class="dim small">{remainder(rows)}</p>')
        self.trained.objects = [
            pn.pane.Bokeh(drawn, margin=0, **_WIDE),
            left,
            markup(scaling_text.trained_html(rows), NUMBERS, _LOOK),
        ]

    def _trained(self) -> pl.DataFrame:
        return scaling_data.trained(self.state.source)

    def _narrow(self, narrow: bool) -> None:
        if narrow != self.narrow:
            self.narrow = narrow
            self.draw_trained()

    def _renew(self) -> None:
        for _, renew in self.copies:
            renew()


_WIDE: dict[str, Any] = {"sizing_mode": "stretch_width"}


def _text() -> pn.pane.HTML:
    return markup("", NUMBERS, _LOOK)


def _waiting(height: int) -> pmui.Skeleton:
    return pmui.Skeleton(height=height, margin=0, **_WIDE)


def _downstream() -> pn.FlexBox:
    tables = (
        markup(f'<div style="margin-bottom:.9rem">{table}</div>', NUMBERS)
        for table in (scaling_text.scores_html(), scaling_text.long_html())
    )
    both = beside()
    drawn = part(pane(score_figure()), markup(scaling_text.scores_basis()), share=3, least=340)
    both.objects = [drawn, part(*tables, share=2, least=300)]
    return both


def _controls(state: ScalingState) -> list[Any]:
    """The bar on the left, bound to the state in both directions."""
    of, names = state.param, scaling_cost.devices()
    lengths = {"all four": 0} | {str(n): n for n in scaling_cost.LENGTHS}
    streams = pmui.IntSlider.from_param(
        of.streams, label="Streams P", start=1, end=MOST_STREAMS, margin=_INSET, **_WIDE
    )
    grid = {size_text(n * 1e9): n for n in GRID}
    size = pmui.DiscreteSlider.from_param(of.size, label="Parameters N", options=grid, margin=_INSET, **_WIDE)
    choose = pmui.Select.from_param
    law = [
        choose(of.corpus, label="Corpus", options={name: key for key, name in CORPORA.items()}, **_WIDE),
        choose(of.form, label="Form of the law", options=list(FORMS), **_WIDE),
    ]
    cost = [
        choose(of.model, label="Model", options=list(SIZES), **_WIDE),
        choose(of.priced, label="Streams of the model", options=list(STREAMS[1:]), **_WIDE),
        pmui.MultiChoice.from_param(of.devices, label="Devices", options=list(names), **_WIDE),
        choose(of.input_tokens, label="Input, tokens", options=lengths, **_WIDE),
        choose(of.output_tokens, label="Output, tokens", options=lengths, **_WIDE),
        choose(of.batch, label="Batch of the table, sequences", options=list(scaling_cost.BATCHES), **_WIDE),
    ]
    return [
        group("Streams and size", streams, size),
        group("Law", *law),
        group("Cost", *cost, reset_button(state.reset)),
    ]


_INSET = (10, 22)
