"""The figures of the page on parallel streams: losses over size, ratios of cost over batch, scores over size."""

import math
from typing import Any

import polars as pl
from bokeh.models import Arrow, ColumnDataSource, FixedTicker, HoverTool, LegendItem, NormalHead, Span

from apps import scaling_cost, scaling_data
from apps.figures import GREY, INK, TEXT_FONT, add_legend, axes, shade
from apps.scaling_cost import BATCHES
from apps.scaling_data import STREAMS
from apps.scaling_state import ScalingState
from workbench import display

MODELLED = display.PALETTE["modelled"]
DEVICE_COLOURS = display.CATEGORICAL[1:]  # from modelled on: the first one says measured
BEYOND = [2, 4]  # the dash of what is extrapolated; published lines have longer ones
_MARK = {"marker": "dash", "size": 15, "line_width": 3.5}  # of what is published, as in the tables
_SMALL = {"text_font": TEXT_FONT, "text_font_size": "12px", "text_baseline": "middle"}
_TIMES = {k * 10.0**e: f"{k * 10.0**e:g}×" for e in range(-3, 5) for k in (1, 2, 5)}


def colour(streams: int) -> str:
    """The colour of a number of streams: their logarithm along the sequential map."""
    return shade(math.log2(streams), 6)


def size_text(parameters: float) -> str:
    """A number of parameters in billions."""
    return f"{parameters / 1e9:.3g}\u2009B"


def loss_figure(state: ScalingState) -> Any:
    """Published losses, the law's curve for each number of streams, and the step to the size of the same loss."""
    reach = state.reach()
    fig = _sized("loss, nats a token", 430, (scaling_data.SMALLEST, reach))
    published = scaling_data.losses(state.corpus)
    largest = float(published["parameters"].cast(pl.Float64).to_numpy().max())
    items = []
    for streams, frame in state.curves().items():
        drawn = _curve(fig, state, streams, frame, largest)
        rows = published.filter(streams=streams)
        if rows.height:
            drawn.append(_marks(fig, rows, streams))
        beyond = ", extrapolated" if streams > STREAMS[-1] else ""
        items.append(LegendItem(label=f"P = {streams}{beyond}", renderers=drawn))
    _step(fig, state, reach)
    add_legend(fig, items)
    return fig


def _sized(y_label: str, height: int, x_range: tuple[float, float]) -> Any:
    """An empty figure over a number of parameters."""
    fig = axes("parameters without embeddings", height=height, y_axis_label=y_label, x_range=x_range)
    ticks = [0.5e9 * 2**k for k in range(7)]
    fig.xaxis.ticker = FixedTicker(ticks=ticks)
    fig.xaxis.major_label_overrides = {tick: size_text(tick) for tick in ticks}
    return fig


def _curve(fig: Any, state: ScalingState, streams: int, frame: pl.DataFrame, largest: float) -> list[Any]:
    """The curve of one number of streams, dotted where nothing was published; the chosen one with its band."""
    chosen, ink = streams == state.streams, colour(streams)
    drawn = []
    if chosen:
        band = ColumnDataSource({"x": frame["parameters"], "lo": frame["lo"], "hi": frame["hi"]})
        drawn.append(fig.varea("x", "lo", "hi", source=band, fill_color=ink, fill_alpha=0.16))
    within = frame.filter((pl.col("parameters") <= largest) & (streams <= STREAMS[-1]))
    beyond = frame.filter((pl.col("parameters") > largest) | (streams > STREAMS[-1]))
    for part, look in ((within, {}), (beyond, {"line_dash": BEYOND})):
        if part.height:
            source = ColumnDataSource({"x": part["parameters"], "y": part["loss"], "lo": part["lo"], "hi": part["hi"]})
            width = 3 if chosen else 1.4
            drawn.append(fig.line("x", "y", source=source, line_color=ink, line_width=width, **look))
    tips = [
        ("streams", str(streams)),
        ("parameters", "@x{0.00a}"),
        ("law", "@y{0.0000}"),
        ("90 %", "@lo{0.0000} to @hi{0.0000}"),
    ]
    fig.add_tools(HoverTool(renderers=drawn[-1:], tooltips=tips, visible=False))
    return drawn


def _marks(fig: Any, rows: pl.DataFrame, streams: int) -> Any:
    source = ColumnDataSource({"x": rows["parameters"], "y": rows["loss"], "size": rows["size"]})
    marks = fig.scatter("x", "y", source=source, line_color=colour(streams), **_MARK)
    tips = [("published", "@y{0.0000}"), ("model", f"@size, P = {streams}"), ("parameters", "@x{0,0}")]
    fig.add_tools(HoverTool(renderers=[marks], tooltips=tips, visible=False))
    return marks


def _step(fig: Any, state: ScalingState, reach: float) -> None:
    """From the chosen model along its loss to the size that reaches it with one stream."""
    worth, start = state.worth(), state.parameters
    end, reached = min(worth.size, reach), worth.size < reach
    if end > 1.01 * start:
        head = NormalHead(size=9, fill_color=MODELLED, line_color=MODELLED)
        line: dict[str, Any] = {"line_color": MODELLED, "line_width": 2.5}
        fig.add_layout(Arrow(end=head, x_start=start, x_end=end, y_start=worth.loss, y_end=worth.loss, **line))
        ends = min(worth.size_lo, reach), min(worth.size_hi, reach)
        fig.segment(
            [ends[0]], [worth.loss], [ends[1]], [worth.loss], line_color=MODELLED, line_width=7, line_alpha=0.35
        )
    text = size_text(worth.size) if reached else "no size drawn here"
    if end > 1.01 * start:
        left = math.log(end / scaling_data.SMALLEST) < 0.8 * math.log(reach / scaling_data.SMALLEST)
        words = dict(_SMALL, text_color=INK, text_font_style="bold", text_align="left" if left else "right")
        fig.text([end], [worth.loss], [text], y_offset=-14, x_offset=2, **words)
    marks = [start, *([end] if reached and end > 1.01 * start else [])]
    look = {"size": 11, "fill_color": "#FFFFFF", "line_color": MODELLED, "line_width": 2.5}
    fig.scatter(marks, [worth.loss] * len(marks), **look)


def ratio_figure(state: ScalingState, kind: str, published: pl.DataFrame) -> Any:
    """What parameters add over what streams add, `kind` "memory" or "latency", over the batch."""
    choice, names = state.choice(), state.chosen_devices()
    names = names[:1] if kind == "memory" else names  # the same bytes on every device
    curves = {name: scaling_cost.dense(choice, name) for name in names}
    seen = [value for frame in curves.values() for value in frame[f"{kind}_ratio"]]
    lo, hi = min(0.4, *seen) / 1.5, max(2.5, *seen) * 1.5
    fig = axes("batch, sequences", height=330, y_axis_type="log", y_axis_label="added by parameters ÷ by streams",
               x_range=(0.9, 72), y_range=(lo, hi))  # fmt: skip
    fig.title = kind.capitalize()
    fig.xaxis.ticker, fig.yaxis.ticker = FixedTicker(ticks=list(BATCHES)), FixedTicker(ticks=list(_TIMES))
    fig.xaxis.major_label_overrides = {batch: str(batch) for batch in BATCHES}
    fig.yaxis.major_label_overrides = _TIMES
    fig.add_layout(Span(location=1, dimension="width", line_color=INK, line_width=1))
    words = dict(_SMALL, text_color=GREY)
    fig.text([0.94, 0.94], [1, 1], ["streams add less", "parameters add less"], y_offset=[-11, 12], **words)
    items = [
        LegendItem(label="any device" if kind == "memory" else name, renderers=_ratio(fig, state, name, kind, at, lo))
        for at, name in enumerate(names)
    ]
    if published.height and state.shows_published_ratios():
        rows = published.drop_nulls(kind)
        look = _MARK | {"line_color": display.PALETTE["published"]}
        marks = fig.scatter(rows["batch"].to_list(), rows[kind].to_list(), **look)
        fig.add_tools(HoverTool(renderers=[marks], tooltips=[("published", "@y×"), ("batch", "@x")], visible=False))
        items.append(LegendItem(label="published", renderers=[marks]))
    add_legend(fig, items)
    return fig


def _ratio(fig: Any, state: ScalingState, name: str, kind: str, at: int, lowest: float) -> list[Any]:
    """The curve of one device, open marks at the batches of the table, and where it crosses 1."""
    ink, column = DEVICE_COLOURS[at % len(DEVICE_COLOURS)], f"{kind}_ratio"
    curve, table = scaling_cost.dense(state.choice(), name), scaling_cost.ratios(state.choice(), name)
    line = fig.line(curve["batch"].to_list(), curve[column].to_list(), line_color=ink, line_width=2)
    source = ColumnDataSource({"x": table["batch"], "y": table[column]})
    marks = fig.scatter("x", "y", source=source, size=9, fill_color="#FFFFFF", line_color=ink, line_width=2)
    tips = [("modelled", "@y{0.00}×"), ("batch", "@x"), ("device", "any" if kind == "memory" else name)]
    fig.add_tools(HoverTool(renderers=[marks], tooltips=tips, visible=False))
    batch = scaling_cost.crossover(state.choice(), name) if kind == "latency" else None
    if batch is not None:
        foot = lowest ** (1 - (at + 0.8) / (len(state.chosen_devices()) + 0.8))  # one above the other, below 1
        drop = fig.segment([batch], [1], [batch], [foot], line_color=ink, line_dash=[4, 3], line_width=1.5)
        words = dict(_SMALL, text_color=INK, text_align="right", background_fill_color="#FFFFFF")
        label = fig.text([batch], [foot], [f"batch {batch:.1f}"], x_offset=-6, **words)
        return [line, marks, drop, label]
    return [line, marks]


def score_figure() -> Any:
    """The published averages on code over size, a colour a number of streams."""
    rows = scaling_data.scores()
    fig = _sized("average, %", 300, (0.44e9, 5e9))
    items = []
    for streams in STREAMS:
        part = rows.filter(streams=streams)
        source = ColumnDataSource({"x": part["parameters"], "y": part["value"], "size": part["size"]})
        line = fig.line("x", "y", source=source, line_color=colour(streams), line_dash=[6, 4], line_width=1.2)
        marks = fig.scatter("x", "y", source=source, line_color=colour(streams), **_MARK)
        tips = [("published", "@y %"), ("model", f"@size, P = {streams}")]
        fig.add_tools(HoverTool(renderers=[marks], tooltips=tips, visible=False))
        items.append(LegendItem(label=f"P = {streams}", renderers=[line, marks]))
    add_legend(fig, items, columns=4)
    return fig
