"""The signature plot as a Bokeh figure: hover for the words, click for the evidence."""

import math
from typing import TYPE_CHECKING, Any

from workbench import display
from workbench.signature._marks import Mark, axis_range, axis_ticks, label, marks, placed_rows

if TYPE_CHECKING:
    import polars as pl

_GREY = "#6B6B6B"
_HOVER = """
<div style="max-width:340px;padding:2px 4px;font:13px system-ui,sans-serif;white-space:normal">
 <b>@statement</b><br>published @published &nbsp;·&nbsp; here @ours<br>@mark @evidence &nbsp;·&nbsp; @verdict
</div>"""


def signature(
    rows: "pl.DataFrame", *, width: int | None = None, height: int | None = None, labels: str = "left", limit: int = 60
) -> Any:
    """The signature plot of a scoreboard as a Bokeh figure of at most `limit` claims.

    `width` in pixels, or None to fill what there is; `labels` stand "left" of the axis or "above" each row, which suits
    a phone. The renderer named "marks" carries `claim_id` and selects on a tap, so that a page can answer a click.
    Raises `ValueError` for other `labels`.
    """
    if labels not in ("left", "above"):
        raise ValueError(f"labels: {labels!r} must be 'left' or 'above'")
    above = labels == "above"
    everything = marks(rows)
    places = {key: at for key, at in placed_rows(everything).items() if at < limit}
    found = [mark for mark in everything if mark.claim_id in places]
    lo, hi = axis_range(found)
    figure = _frame(len(places), lo, hi, width, height, above)
    _words(figure, found, places, lo, above)
    _draw(figure, found, places, lo, hi)
    return figure


def _frame(n: int, lo: float, hi: float, width: int | None, height: int | None, above: bool) -> Any:
    """An empty figure with `n` rows, the first on top, and the published figure at 1×."""
    from bokeh.models import FixedTicker
    from bokeh.plotting import figure

    step = 44 if above else 27
    size: dict[str, Any] = {"sizing_mode": "stretch_width"} if width is None else {"width": width}
    ranges: dict[str, Any] = {"x_range": (lo, hi), "y_range": (n - 0.5 + 0.1, -0.5 - 0.1)}
    fig = figure(
        x_axis_type="log",
        height=height or step * max(n, 1) + 66,
        tools="tap",
        toolbar_location=None,
        x_axis_location="above",
        x_axis_label="ours ÷ published",
        outline_line_color=None,
        **size,
        **ranges,
    )
    ticks = axis_ticks(lo, hi)
    fig.xaxis.ticker = FixedTicker(ticks=list(ticks))
    fig.xaxis.major_label_overrides = dict(ticks)
    fig.xaxis.update(
        axis_line_color=None, major_tick_line_color=None, axis_label_text_font_style="normal",
        axis_label_text_color=_GREY, major_label_text_color=_GREY, axis_label_standoff=4,
    )  # fmt: skip
    fig.xgrid.grid_line_color, fig.ygrid.grid_line_color = "#ECECEC", None
    fig.yaxis.update(axis_line_color=None, major_tick_line_color=None, minor_tick_line_color=None)
    fig.toolbar.active_tap = "auto"
    fig.min_border_right = 18
    return fig


def _words(figure: Any, found: list[Mark], places: dict[str, int], lo: float, above: bool) -> None:
    """A label for each row: beside the axis, or above the row's marks."""
    from bokeh.models import FixedTicker

    several = len({mark.paper for mark in found}) > 1
    words = {places[m.claim_id]: label(m, several, 46 if above else 54) for m in found}
    if not above:
        figure.yaxis.ticker = FixedTicker(ticks=list(words))
        figure.yaxis.major_label_overrides = dict(words)
        figure.yaxis.major_label_text_font_size = "12px"
        figure.yaxis.major_label_text_color = "#2B2B2B"
        return
    figure.yaxis.visible = False
    figure.text(
        x=[lo] * len(words), y=[at - 0.25 for at in words], text=list(words.values()), text_font_size="12px",
        text_color="#2B2B2B", text_baseline="middle",
    )  # fmt: skip


def _draw(figure: Any, found: list[Mark], places: dict[str, int], lo: float, hi: float) -> None:
    from bokeh.models import ColumnDataSource, HoverTool

    def clip(ratio: float) -> float:
        return min(max(ratio, lo), hi)

    shift = 0.18 if figure.yaxis[0].visible is False else 0.0  # room for the words above
    at = [places[m.claim_id] + shift for m in found]
    first = {m.claim_id: (m, y) for m, y in reversed(list(zip(found, at, strict=True)))}.values()
    banded = [(m, y) for m, y in first if not math.isnan(m.band_lo)]
    reach = 0.3 if not shift else 0.2
    figure.quad(
        left=[clip(m.band_lo) for m, _ in banded], right=[clip(m.band_hi) for m, _ in banded],
        top=[y - reach for _, y in banded], bottom=[y + reach for _, y in banded], fill_color="#9A9A9A", fill_alpha=0.2,
        line_color=None,
    )  # fmt: skip
    ticks = [(t, y) for m, y in first for t in m.ticks]
    xs = [t for t, _ in ticks]
    ends = [[y + side * (reach + 0.04) for _, y in ticks] for side in (-1, 1)]
    figure.segment(xs, ends[0], xs, ends[1], line_color="#1A1A1A", line_dash=[3, 2], line_width=1.6)
    data: dict[str, Any] = {
        "x": [clip(m.ratio) for m in found], "y": at, "lo": [clip(m.lo) for m in found],
        "hi": [clip(m.hi) for m in found], "colour": [m.colour for m in found],
        "fill": [m.colour if m.evidence == "measured" else "#FFFFFF" for m in found],
        "mark": [display.EVIDENCE[m.evidence] for m in found],
        "verdict": [display.verdict_text(m.verdict) for m in found],
        **{name: [getattr(m, name) for m in found] for name in ("claim_id", "statement", "published")},
        **{name: [getattr(m, name) for m in found] for name in ("ours", "evidence")},
    }  # fmt: skip
    source = ColumnDataSource(data)
    figure.segment("lo", "y", "hi", "y", source=source, line_color="colour", line_width=2.2)
    points = figure.scatter(
        "x", "y", source=source, size=11, fill_color="fill", line_color="colour", line_width=2, name="marks",
        nonselection_fill_alpha=1, nonselection_line_alpha=1, selection_line_width=4,
    )  # fmt: skip
    _half_filled(figure, [(m, y, clip(m.ratio)) for m, y in zip(found, at, strict=True) if m.evidence == "simulated"])
    _past_the_edge(figure, [(m, y) for m, y in zip(found, at, strict=True) if clip(m.ratio) != m.ratio], lo, hi)
    figure.add_tools(HoverTool(renderers=[points], tooltips=_HOVER, point_policy="snap_to_data"))


def _half_filled(figure: Any, simulated: list[tuple[Mark, float, float]]) -> None:
    figure.wedge(
        x=[x for *_, x in simulated], y=[y for _, y, _ in simulated], radius=5.5, radius_units="screen",
        start_angle=math.pi / 2, end_angle=-math.pi / 2, fill_color=[m.colour for m, *_ in simulated], line_color=None,
    )  # fmt: skip


def _past_the_edge(figure: Any, beyond: list[tuple[Mark, float]], lo: float, hi: float) -> None:
    """An arrow beside a mark whose ratio lies outside the axis."""
    for m, y in beyond:
        right = m.ratio > hi
        figure.text(x=[hi if right else lo], y=[y], text=["▸" if right else "◂"], text_color=m.colour,
                    text_baseline="middle", text_align="right" if right else "left",
                    x_offset=-9 if right else 9)  # fmt: skip
