"""What the figures of the method pages share: their frame and legend, the colours of an ordered quantity, panes."""

from typing import Any

import panel as pn
from bokeh.core.properties import value
from bokeh.models import Legend, LegendItem
from bokeh.palettes import Viridis256
from bokeh.plotting import figure

from apps.style import FONT
from apps.style import INK as INK

TEXT_FONT = value(FONT)  # bokeh takes a bare string with a space in it for a column
GREY, RULE = "#6B6B6B", "#ECECEC"


def axes(x_label: str, height: int, **params: Any) -> Any:
    """An empty figure that fills its column, in the look of the pages; x is logarithmic unless `params` say so."""
    params = {"x_axis_type": "log", "tools": "box_zoom,pan,reset,save", "active_drag": None} | params
    look: dict[str, Any] = {"sizing_mode": "stretch_width", "outline_line_color": None}
    fig: Any = figure(x_axis_label=x_label, height=height, **look, **params)
    fig.toolbar.logo, fig.toolbar.autohide = None, True
    fig.grid.grid_line_color = RULE
    fig.axis.axis_line_color, fig.axis.major_tick_line_color, fig.axis.minor_tick_line_color = "#B9BEC6", None, None
    # The theme of the page said again, because what is drawn after the page has come gets none.
    fig.axis.axis_label_text_font_style, fig.axis.axis_label_text_color, fig.axis.axis_label_standoff = (
        "normal",
        INK,
        10,
    )
    fig.axis.axis_label_text_font = fig.axis.major_label_text_font = fig.title.text_font = FONT
    fig.axis.axis_label_text_font_size, fig.axis.major_label_text_font_size = "1em", "0.925em"
    fig.axis.major_label_text_color, fig.title.text_color, fig.title.text_font_size = GREY, INK, "1.05em"
    fig.min_border_right = 14
    return fig


def add_legend(fig: Any, items: list[LegendItem], columns: int = 2) -> None:
    """A legend below the figure; a click on an item hides it."""
    look: dict[str, Any] = {"label_text_font": FONT, "label_text_font_size": "0.95em", "label_text_color": INK}
    look |= {"margin": 0, "padding": 2, "spacing": 8, "glyph_width": 14, "glyph_height": 14, "label_standoff": 8}
    legend = Legend(items=items, border_line_color=None, click_policy="hide", location="top_left", **look)
    legend.ncols = min(len(items), columns) or 1
    fig.add_layout(legend, "below")


def shade(at: float, n: int) -> str:
    """A colour of the sequential map, without its palest end: that of place `at` among `n`."""
    return Viridis256[round(205 * at / max(n - 1, 1))]


def beside() -> pn.FlexBox:
    """A row of panes that stand below one another where there is no room for two."""
    return pn.FlexBox(sizing_mode="stretch_width", margin=0, gap="12px")


def pane(figure: Any, *above: Any, share: int = 1, least: int = 400) -> pn.Column:
    """A figure with what stands above it, for a row: it takes its `share` of the width, `least` pixels or all of it."""
    shown = pn.pane.Bokeh(figure, sizing_mode="stretch_width", margin=0)
    return part(*above, shown, share=share, least=least)


def part(*objects: Any, share: int = 1, least: int = 400) -> pn.Column:
    """Objects below one another, as one part of a row."""
    styles = {"flex": f"{share} 1 min({least}px, 100%)", "min-width": "0"}
    return pn.Column(*objects, sizing_mode="stretch_width", margin=0, styles=styles)
