"""The figures of the page on parallel recurrences: chains of factors, residuals by iteration, iterations against λ."""

from typing import Any

import numpy as np
import polars as pl
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, LegendItem, Span

from apps.figures import GREY, INK, TEXT_FONT, add_legend, axes, shade
from apps.rnn_data import CELLS, WAYS, Chain, Link, Residual, solvers
from apps.rnn_lab import Answer
from apps.rnn_state import RnnState
from workbench import display

# Dispatch and fusion are the baseline's doing, so they are grey; what the algorithm does stands out, a loss too.
_COLOUR = {"dispatch": "#8E8E8E", "fusion": "#C0C4CB"}
FLOOR = {"float32": 1e-5, "float64": 1e-10}  # what the study counts as machine precision
_DASHES = ("solid", "dashed", "dotted", "dotdash", "dashdot")
_MARKERS = ("circle", "square", "triangle", "diamond", "inverted_triangle")


def colour(link: Link) -> str:
    """The colour of a step of the chain."""
    lost = display.PALETTE["contradiction" if link.factor < 1 else "measured"]
    return _COLOUR.get(link.kind.split()[0], lost)


def factor_text(factor: float) -> str:
    """`×73`, and of what loses `×0.18, 5.6 times slower`."""
    text = f"×{display.number(factor)}"
    return text if factor >= 1 else f"{text}: {display.number(1 / factor, 2)} times slower"


def chain_figure(chain: Chain, published: float | None) -> Any:
    """How many times as fast as the loop each way is: a bar a step, from where the last one ended."""
    links = chain.links()
    ends = [1.0, *(end for link in links for end in (link.start, link.end)), *([published] if published else [])]
    lo, hi = min(ends) / 2.2, max(ends) * 2.6
    fig = axes(
        f"times as fast as {_first(chain)}",
        height=62 * len(links) + 96,
        x_range=(lo, hi),
        y_range=(len(links) - 0.4, -0.75),
    )
    fig.yaxis.visible = False
    fig.ygrid.grid_line_color = None
    fig.xaxis.ticker = FixedTicker(ticks=[10.0**k for k in range(-4, 8)])
    fig.xaxis.major_label_overrides = {10.0**k: _power(k) for k in range(-4, 8)}
    for at, link in enumerate(links):
        _bar(fig, at, link)
    fig.line([1, 1], [-0.4, len(links) - 0.4], line_color=INK, line_width=1)
    if published:
        fig.line([published] * 2, [-0.45, len(links) - 0.4], line_color=INK, line_dash=[6, 4], line_width=1.6)
        words = {"text_font": TEXT_FONT, "text_font_size": "12px", "text_baseline": "middle", "text_align": "right"}
        fig.text(
            [published], [-0.62], [f"published {display.number(published)}×, A100"], text_color=INK, x_offset=6, **words
        )
    return fig


def _first(chain: Chain) -> str:
    first = next(iter(chain.seconds))
    return f"the {WAYS[first][1]}" if first in WAYS else first


def _power(k: int) -> str:
    return f"{10**k:,}×".replace(",", "\u2009") if k >= 0 else f"{10.0**k:g}×"


def _bar(fig: Any, at: int, link: Link) -> None:
    """A bar with the marker of what was measured at its end, and its words above it."""
    shade, y = colour(link), at + 0.12
    ink = shade if link.kind == "algorithm" else INK
    source = ColumnDataSource({
        "left": [min(link.start, link.end)], "right": [max(link.start, link.end)],
        "top": [y - 0.15], "bottom": [y + 0.15],
        "end": [link.end], "y": [y], "lo": [link.start * link.lo], "hi": [link.start * link.hi],
        "what": [f"{link.kind}: {link.name}"], "factor": [factor_text(link.factor)],
        "range": [f"{display.number(link.lo)} to {display.number(link.hi)}"],
        "seconds": [f"{display.number(link.before * 1e3)} → {display.number(link.after * 1e3)} ms"],
    })  # fmt: skip
    bar = fig.quad("left", "right", "top", "bottom", source=source, fill_color=shade, line_color=None)
    fig.segment("lo", "y", "hi", "y", source=source, line_color=INK, line_width=1.4)
    point = fig.scatter("end", "y", source=source, size=10, fill_color=ink, line_color="#FFFFFF", line_width=1.5)
    if at:  # where the last one ended
        fig.line([link.start] * 2, [at - 0.88, y], line_color="#B9BEC6", line_width=1)
    words = {"text_font": TEXT_FONT, "text_font_size": "13px", "text_baseline": "bottom", "text_line_height": 1.15,
             "y": [at - 0.09], "background_fill_color": "#FFFFFF"}  # fmt: skip
    # What loses says so on a line of its own, which a phone is wide enough for.
    told = f"{link.kind}  {factor_text(link.factor)}".replace(": ", "\n")
    fig.text(x=[1.0], text=[told], text_color=ink, text_font_style="bold", x_offset=6, **words)
    fig.add_tools(HoverTool(renderers=[bar, point], tooltips=[("step", "@what"), ("factor", "@factor"),
                  ("over the turns", "@range"), ("median", "@seconds")]))  # fmt: skip


def residual_figure(state: RnnState, cell: str, curves: list[Residual]) -> Any:
    """The residual by iteration of one cell: colour is the length, dash and marker are the solver."""
    lengths = sorted({curve.length for curve in state.curves()})
    kinds = sorted({curve.solver for curve in state.curves()}, key=lambda name: (name.split(", ")[::-1], name))
    fig = axes("iteration", height=330, y_axis_type="log", x_axis_type="linear", y_axis_label="largest residual")
    fig.title = CELLS.get(cell, cell)
    drawn: dict[str, list[Any]] = {}  # what a line of the legend shows and hides
    for curve in curves:
        frame = state.history(curve)
        y = frame["value"].to_numpy()
        look = {"color": shade(lengths.index(curve.length), len(lengths))}
        kind = kinds.index(curve.solver)
        source = ColumnDataSource({"x": frame["x"].to_numpy(), "y": np.where(y > 0, y, np.nan)})
        line = fig.line("x", "y", source=source, line_width=2, line_dash=_DASHES[kind % 5], **look)
        many = frame.height > 20
        dot = fig.scatter("x", "y", source=source, size=4 if many else 7, marker=_MARKERS[kind % 5], **look)
        tips = [("solver", curve.solver), ("steps", str(curve.length)), ("iteration", "@x"), ("residual", "@y{0.0e}")]
        fig.add_tools(HoverTool(renderers=[dot], tooltips=tips, visible=False))
        for label in (f"{curve.length} steps", *([curve.solver] if len({c.solver for c in curves}) > 1 else [])):
            drawn.setdefault(label, []).extend((line, dot))
    for dtype in sorted({curve.solver.rsplit(", ", 1)[-1] for curve in curves} & set(FLOOR)):
        fig.add_layout(
            Span(location=FLOOR[dtype], dimension="width", line_color=GREY, line_dash="dashed", line_width=1)
        )
    add_legend(fig, [LegendItem(label=label, renderers=lines) for label, lines in drawn.items()])
    return fig


def answer_figure(answer: Answer) -> Any:
    """The residual after each iteration of one solve in the lab."""
    fig = axes("iteration", height=300, x_axis_type="linear", y_axis_type="log", y_axis_label="largest residual")
    y = np.where((answer.history > 0) & np.isfinite(answer.history), answer.history, np.nan)
    shade = display.PALETTE["measured" if answer.converged else "contradiction"]
    source = ColumnDataSource({"x": np.arange(y.size), "y": y})
    fig.line("x", "y", source=source, line_width=2, color=shade)
    fig.scatter("x", "y", source=source, size=7 if y.size < 30 else 4, color=shade)
    fig.add_layout(Span(location=FLOOR["float32"], dimension="width", line_color=GREY, line_dash="dashed"))
    return fig


def sweep_figure(frame: pl.DataFrame) -> Any:
    """Iterations against the Lyapunov exponent; what did not converge is an open mark at the upper edge."""
    named = solvers(frame)
    finite = [v for name in named for v in frame[name].drop_nulls().to_list() if np.isfinite(v) and v > 0]
    top = 2.0 * max(finite, default=10.0)
    fig = axes("largest Lyapunov exponent λ, 1/step", height=360, x_axis_type="linear", y_axis_type="log",
                 y_axis_label="iterations", y_range=(0.7, top * 1.4))  # fmt: skip
    fig.add_layout(Span(location=0, dimension="height", line_color=INK, line_dash="dashed", line_width=1.4))
    items = []
    for at, name in enumerate(named):
        part = frame.select("lyapunov", name).drop_nulls()
        x, y = part["lyapunov"].to_numpy(), part[name].to_numpy()
        done = np.isfinite(y)
        look = {"color": display.CATEGORICAL[at % len(display.CATEGORICAL)]}
        source = ColumnDataSource({"x": x, "y": np.where(done, y, np.nan)})
        dots = fig.scatter("x", "y", source=source, size=8, marker=_MARKERS[at % 5], **look)
        # of several lengths and seeds a line would run to and fro
        one = "length" not in frame.columns
        lines = [fig.line("x", "y", source=source, line_width=2, line_dash=_DASHES[at % 5], **look)] if one else []
        fig.scatter(x[~done], np.full((~done).sum(), top), size=9, marker=_MARKERS[at % 5], fill_color="#FFFFFF",
                    line_color=look["color"], line_width=2)  # fmt: skip
        tips = [("solver", name), ("λ", "@x{0.000}"), ("iterations", "@y{0}")]
        fig.add_tools(HoverTool(renderers=[dots], tooltips=tips, visible=False))
        items.append(LegendItem(label=name, renderers=[*lines, dots]))
    add_legend(fig, items)
    return fig
