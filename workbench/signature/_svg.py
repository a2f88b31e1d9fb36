"""The signature plot as a static SVG, drawn by hand: small, and readable on a white and on a dark page."""

import html
import math
from typing import TYPE_CHECKING, Any

from workbench import display
from workbench.signature._marks import Mark, axis_range, axis_ticks, label, marks, placed_rows, remainder

if TYPE_CHECKING:
    import polars as pl

STEP = 22  # pixels from row to row


def signature_svg(rows: "pl.DataFrame", *, width: int = 760, limit: int = 60, labels: bool = True) -> str:
    """The same plot as a static SVG that reads on a white and on a dark page: at most `limit` claims, with `labels`."""
    everything = marks(rows)
    all_places = placed_rows(everything)
    places = {key: at for key, at in all_places.items() if at < limit}
    found = [mark for mark in everything if mark.claim_id in places]
    left = round(width * 0.44) if labels else 12
    top = 26 if found else -24  # without marks only the notes remain
    bottom = top + STEP * len(places)
    lo, hi = axis_range(found)

    def x(ratio: float) -> float:
        at = (math.log(min(max(ratio, lo), hi)) - math.log(lo)) / (math.log(hi) - math.log(lo))
        return round(left + at * (width - left - 16), 1)

    parts = [_svg_axis(lo, hi, x, top, bottom, left)] if found else []
    several, seen = len({mark.paper for mark in found}) > 1, set()
    for mark in found:
        words = label(mark, several, round(left / 6.4)) if labels else ""
        y = top + STEP * (places[mark.claim_id] + 0.5)
        parts.append(_svg_row(mark, words, x, y, first=mark.claim_id not in seen))
        seen.add(mark.claim_id)
    notes = _notes(rows, len(all_places) - len(places))
    parts += [
        f'<text x="0" y="{bottom + 38 + 16 * line}" fill="#777">{html.escape(note)}</text>'
        for line, note in enumerate(notes)
    ]
    height = bottom + 30 + 16 * len(notes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="100%" role="img" '
        f'style="max-width:{width}px;font:12px system-ui,sans-serif"><title>Ours divided by the published figure, one '
        f"row a claim</title>{''.join(parts)}</svg>"
    )


def _notes(rows: "pl.DataFrame", undrawn: int) -> list[str]:
    """What is not drawn, in words."""
    more = f"{undrawn} further {'claim is' if undrawn == 1 else 'claims are'} in the table" if undrawn else ""
    return [note for note in (more, remainder(rows)) if note]


def _svg_axis(lo: float, hi: float, x: Any, top: int, bottom: int, left: int) -> str:
    parts = [f'<text x="{left}" y="12" fill="#777">ours ÷ published</text>']
    placed = -math.inf
    for tick, text in axis_ticks(lo, hi).items():
        if x(tick) - placed < 34 and tick != 1:
            continue
        placed = x(tick)
        line = f'x1="{placed}" x2="{placed}" y1="{top}" y2="{bottom}" stroke="#777" stroke-opacity=".25"'
        parts.append(
            f'<line {line}/><text x="{placed}" y="{bottom + 16}" fill="#777" text-anchor="middle">{text}</text>'
        )
    return "".join(parts)


def _svg_row(mark: Mark, words: str, x: Any, y: float, first: bool) -> str:
    said = f"{mark.statement}\npublished {mark.published}, here {mark.ours}: {display.verdict_text(mark.verdict)}"
    parts = [f"<g><title>{html.escape(said)}</title>"]
    if first and words:
        parts.append(f'<text x="0" y="{y + 4}" fill="#777">{html.escape(words)}</text>')
    if first and not math.isnan(mark.band_lo):
        a, b = x(mark.band_lo), x(mark.band_hi)
        parts.append(
            f'<rect x="{a}" y="{y - 8}" width="{max(b - a, 1):.1f}" height="16" fill="#777" fill-opacity=".16"/>'
        )
    for tick in mark.ticks:
        line = f'x1="{x(tick)}" x2="{x(tick)}" y1="{y - 9}" y2="{y + 9}"'
        parts.append(f'<line {line} stroke="#777" stroke-width="1.6" stroke-dasharray="3 2"/>')
    parts.append(
        f'<line x1="{x(mark.lo)}" x2="{x(mark.hi)}" y1="{y}" y2="{y}" stroke="{mark.colour}" stroke-width="2"/>'
        f"{_svg_marker(x(mark.ratio), y, mark)}</g>"
    )
    return "".join(parts)


def _svg_marker(cx: float, y: float, mark: Mark) -> str:
    """Filled when measured, half-filled when simulated, open when modelled."""
    fill = mark.colour if mark.evidence == "measured" else "none"
    circle = f'<circle cx="{cx}" cy="{y}" r="5" fill="{fill}" stroke="{mark.colour}" stroke-width="1.8"/>'
    if mark.evidence == "simulated":
        circle += f'<path d="M{cx} {y - 5}a5 5 0 0 0 0 10z" fill="{mark.colour}"/>'
    return circle
