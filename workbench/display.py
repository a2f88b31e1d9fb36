"""One visual language for the command, the pages, the notebooks and the plots.

Evidence has a shape, a verdict has a colour, an icon and a word, and a number has three significant digits. Everything
that is shown to a person takes its marks, colours and number format from here.
"""

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Okabe-Ito: told apart by colour-blind readers. Published figures take the text colour of the theme.
PALETTE = {
    "published": "#1A1A1A",
    "measured": "#0072B2",
    "modelled": "#E69F00",
    "simulated": "#009E73",
    "baseline": "#7F7F7F",
    "contradiction": "#D55E00",
}
CATEGORICAL = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#7F7F7F")
SEQUENTIAL = "viridis"

# The mark of the evidence: filled, half-filled, open, none. The same in tables and, as marker, in plots.
EVIDENCE = {"measured": "●", "simulated": "◐", "modelled": "○", "published": "–"}
EVIDENCE_HELP = {
    "measured": "ran for real on this machine",
    "simulated": "simulated event by event",
    "modelled": "from a closed-form model",
    "published": "only the published figure is known",
}


@dataclass(frozen=True)
class VerdictStyle:
    """How one verdict is shown: its icon, its colour, whether its chip is solid, and what it means."""

    icon: str
    colour: str
    solid: bool
    meaning: str

    @property
    def fill(self) -> str:
        """The CSS of the chip's colours."""
        return f"background:{self.colour};color:#fff" if self.solid else f"background:#fff;color:{self.colour}"


VERDICTS = {
    "reproduced": VerdictStyle("✓", "#00714F", True, "same scale and conditions, within the tolerance"),
    "supported": VerdictStyle("≈", "#00714F", False, "smaller scale or other hardware: direction and shape hold"),
    "modelled": VerdictStyle("○", "#946100", False, "a model at the published scale agrees; nothing was measured"),
    "inconclusive": VerdictStyle("?", "#5F5F5F", False, "the interval is too wide, or the check could not have failed"),
    "not reproduced": VerdictStyle("✗", "#B84A00", False, "at another scale, or by a model: it came out otherwise"),
    "contradicted": VerdictStyle(
        "✗", "#B84A00", True, "same conditions and scale, or an identity: it came out otherwise"
    ),
    "not testable": VerdictStyle("∅", "#5F5F5F", False, "needs data or hardware that is not here; the row says which"),
    "untested": VerdictStyle("·", "#5F5F5F", False, "no run has tested this claim yet"),
}

_THIN = "\u2009"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None, digits: int = 3) -> str:
    """`value` with `digits` significant digits: thin spaces between thousands, a power of ten past 10⁻³ and 10⁷."""
    if value is None:
        return "–"
    value = float(value)
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "−∞"}.get(value, "nan")
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e7:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa}·10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    if value == int(value) and abs(value) < 10 ** (digits + 3):
        return f"{int(value):,}".replace(",", _THIN)
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}".replace(",", _THIN)


def interval(value: float | None, lo: float | None = None, hi: float | None = None, unit: str = "") -> str:
    """`value`, its interval when there is one, and its unit."""
    text = number(value)
    if value is not None and lo is not None and hi is not None and lo != hi:
        text += f" [{number(lo)}, {number(hi)}]"
    return f"{text}{_THIN}{unit}" if unit and value is not None else text


def verdict_text(verdict: str) -> str:
    """Icon and word, as the command and the tables print a verdict."""
    return f"{VERDICTS[verdict].icon} {verdict}"


def verdict_chip(verdict: str) -> str:
    """The verdict as an HTML chip: icon, word and colour, never colour alone."""
    style = VERDICTS[verdict]
    css = f"{style.fill};border:1.5px solid {style.colour};border-radius:1em;padding:.1em .7em;white-space:nowrap"
    return f'<span style="{css}" title="{html.escape(style.meaning)}">{style.icon} {verdict}</span>'


def card(title: str, facts: Mapping[str, Any]) -> str:
    """A small HTML card, the `_repr_html_` of every result: a title and a table of facts."""
    rows = "".join(
        f'<tr><th style="text-align:left;padding-right:1em">{html.escape(str(name))}</th>'
        f'<td style="text-align:left">{html.escape(str(value))}</td></tr>'
        for name, value in facts.items()
    )
    return f"<div><strong>{html.escape(title)}</strong><table>{rows}</table></div>"


def holoviews() -> Any:
    """HoloViews with its Bokeh backend loaded; imported here and nowhere at the top of a module.

    Raises `ImportError` that names the extra to install.
    """
    try:
        import holoviews as hv
    except ImportError as error:
        raise ImportError("plots need HoloViews: pip install 'parallel-workbench[app]'") from error
    if not hv.extension._loaded or hv.Store.current_backend != "bokeh":
        hv.extension("bokeh", logo=False, inline=True)  # no request leaves the machine
    return hv
