"""The look of the pages: one style sheet, and the small pieces of HTML that several pages share."""

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from workbench import display

INK, DIM, LINE, ACCENT = "#1A1A1A", "#5F5F5F", "#E3E5E8", display.PALETTE["measured"]
FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"

CSS = f"""
:host{{font:15px/1.5 {FONT};color:{INK};}}
h1{{font-size:1.6rem;line-height:1.2;margin:0;font-weight:650;letter-spacing:-.01em}}
h2{{font-size:1.05rem;margin:0;font-weight:650}}
p{{margin:.25rem 0}}
.dim{{color:{DIM}}}
.small{{font-size:13px}}
a{{color:{ACCENT};text-decoration:none}}
a:hover{{text-decoration:underline}}
a:focus-visible,summary:focus-visible{{outline:2px solid {ACCENT};outline-offset:2px;border-radius:4px}}
code,pre{{background:#F4F5F7;border-radius:6px;font:13px/1.5 ui-monospace,'DejaVu Sans Mono',Menlo,monospace}}
code{{padding:.12em .4em;overflow-wrap:anywhere}}
pre{{padding:.7rem .9rem;overflow-x:auto;margin:.4rem 0;white-space:pre}}
.wide{{overflow-x:auto}}
.tall{{max-height:26rem;overflow-y:auto}}
.tall th{{position:sticky;top:0;background:#fff;box-shadow:inset 0 -1px {LINE}}}
table{{border-collapse:collapse;font-variant-numeric:tabular-nums}}
th{{text-align:left;font-weight:600;color:{DIM};font-size:13px}}
.hint{{display:inline-block;width:1.25em;height:1.25em;line-height:1.25em;text-align:center;border-radius:50%;cursor:help;
 background:#EEF0F3;color:{DIM};font-size:11px;font-weight:600;vertical-align:middle}}
.hint:focus-visible{{outline:2px solid {ACCENT};outline-offset:1px}}
dl{{display:grid;grid-template-columns:8.2rem 1fr;gap:.35rem .9rem;margin:.5rem 0}}
dt{{color:{DIM}}}dd{{margin:0;overflow-wrap:anywhere}}
"""

NAV = f"""
nav{{display:flex;flex-direction:column;gap:2px;padding:6px 10px 10px}}
nav a{{padding:.5rem .8rem;border-radius:8px;color:{INK};font-size:15px;display:block}}
nav p{{margin:.45rem 0 0;padding:.2rem .8rem;color:{DIM};font-size:13px;font-weight:600}}
nav [role=group] a{{padding-left:1.6rem}}
nav a:hover{{background:#F0F2F5;text-decoration:none}}
nav a[aria-current]{{background:#E6F0F7;color:#00517F;font-weight:600}}
"""

MATRIX = f"""
table.matrix{{width:100%}}
.matrix th,.matrix td{{padding:.45rem .7rem;border-bottom:1px solid {LINE};vertical-align:middle}}
.matrix tbody tr:hover{{background:#F8F9FB}}
.matrix td.n{{text-align:center}}
.matrix th.n{{text-align:center;width:5.4rem;vertical-align:bottom;line-height:1.3}}
.matrix th.n b{{display:block;font-size:15px}}
.matrix .name{{min-width:15rem}}
.matrix .count{{display:inline-block;min-width:1.9em;padding:.1em .55em;border-radius:1em;text-align:center;
 font-weight:600;border:1.5px solid;white-space:nowrap}}
@media(max-width:600px){{.matrix .name{{min-width:9rem}}.matrix th,.matrix td{{padding:.4rem .35rem}}}}
.matrix .title{{color:{DIM};font-size:13px;display:block;line-height:1.4}}
.matrix .none{{color:#C4C7CC}}
"""

NUMBERS = f"""
table.numbers{{width:100%;font-size:14px}}
.numbers th,.numbers td{{padding:.35rem .9rem .35rem 0;border-bottom:1px solid {LINE};white-space:nowrap}}
.numbers td.word{{white-space:normal;min-width:4.5rem}}
.numbers .n{{text-align:right}}
.numbers th{{vertical-align:bottom}}
.numbers th.n{{white-space:normal}}
.numbers tr.chosen td{{background:#EAF2F8}}
"""

TILES = f"""
ul.tiles{{display:grid;grid-template-columns:repeat(auto-fit,minmax(128px,1fr));gap:10px;list-style:none;padding:0;margin:0}}
.tiles a{{display:block;border:1px solid {LINE};border-radius:10px;padding:.6rem .6rem;color:{INK};background:#fff}}
.tiles a:hover{{border-color:#B9BEC6;text-decoration:none}}
.tiles strong{{display:block;font-size:1.55rem;line-height:1.15;font-weight:650}}
.tiles .zero strong{{color:#B4B8BE}}
.tiles span{{font-size:12.5px;white-space:nowrap}}
ul.rows{{list-style:none;padding:0;margin:.3rem 0 0}}
.rows li{{display:grid;grid-template-columns:10rem 1fr;gap:.2rem .8rem;padding:.45rem 0;border-bottom:1px solid {LINE}}}
.rows li:last-child{{border-bottom:0}}
@media(max-width:600px){{.rows li{{grid-template-columns:1fr}}}}
"""

TABLE = f"""
:host .tabulator{{border:0;font:14px/1.45 {FONT};background:#fff}}
.tabulator .tabulator-header{{background:#fff;border-bottom:1.5px solid #B9BEC6;font-weight:600;color:{DIM}}}
.tabulator .tabulator-header .tabulator-col{{background:#fff;border-right:0}}
.tabulator-row{{background:#fff!important;border-bottom:1px solid {LINE};cursor:pointer}}
.tabulator-row:hover{{background:#F4F7FA!important}}
.tabulator-row.tabulator-selected{{background:#E6F0F7!important}}
.tabulator-row .tabulator-cell{{border-right:0;padding:8px 10px;color:{INK}}}
.tabulator-row button.open{{all:unset;cursor:pointer;white-space:normal;font:inherit;color:inherit}}
.tabulator-row button.open:focus-visible{{outline:2px solid {ACCENT};outline-offset:3px;border-radius:3px}}
.tabulator .tabulator-footer{{background:#fff;border-top:0}}
"""


def chip_link(verdict: str, n: int, href: str) -> str:
    """A count that carries the colour and the icon of its verdict, and leads to the claims behind it."""
    style = display.VERDICTS[verdict]
    said = f"{n} {verdict}: {style.meaning}"
    return (
        f'<a href="{html.escape(href, quote=True)}" title="{html.escape(said, quote=True)}" '
        f'aria-label="{html.escape(said, quote=True)}"><span class="count" '
        f'style="{style.fill};border-color:{style.colour}">{style.icon} {n}</span></a>'
    )


def runs_link(run_id: str = "", status: str = "") -> str:
    """The address of the Runs page with this run selected or only runs of this status, for an attribute of HTML."""
    wanted = {"run": run_id, "status": status}
    query = "&".join(f"{name}={quote(json.dumps([value]))}" for name, value in wanted.items() if value)
    return html.escape(f"runs?{query}" if query else "runs", quote=True)


def compare_link(first: str, second: str) -> str:
    """The address of the comparison of two runs, for an attribute of HTML."""
    return html.escape(f"compare?run={quote(first)}&run={quote(second)}", quote=True)


def tile(n: int, href: str, label: str, title: str = "", colour: str = INK) -> str:
    """A number in a list `ul.tiles`, with its name below it, that leads somewhere; `label` and `href` are HTML."""
    return (
        f'<li><a class="{"" if n else "zero"}" href="{href}" title="{html.escape(title, quote=True)}">'
        f'<strong>{display.number(n)}</strong><span style="color:{colour}">{label}</span></a></li>'
    )


def evidence_mark(evidence: str) -> str:
    """The mark and the word of an evidence, explained on hover."""
    return f'<span title="{display.EVIDENCE_HELP[evidence]}">{display.EVIDENCE[evidence]} {evidence}</span>'


def definitions(facts: dict[str, Any]) -> str:
    """A list of names and values; values are HTML already, and empty ones are left out."""
    return "<dl>" + "".join(f"<dt>{html.escape(k)}</dt><dd>{v}</dd>" for k, v in facts.items() if v) + "</dl>"


def numbers(
    heads: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1, chosen: int | None = None, tall: bool = False
) -> str:
    """A table of HTML cells, of which the first `words` columns are text and the others numbers.

    The row number `chosen` stands out. A `tall` table scrolls inside itself, below its heads.
    """
    kinds = ["word" if at < words else "n" for at in range(len(heads))]
    body = ""
    for at, row in enumerate(rows):
        cells = "".join(f'<td class="{kind}">{cell}</td>' for kind, cell in zip(kinds, row, strict=True))
        body += f"<tr{' class=chosen' if at == chosen else ''}>{cells}</tr>"
    head = "".join(f'<th class="{kind}" scope="col">{name}</th>' for kind, name in zip(kinds, heads, strict=True))
    return f'<div class="wide{" tall" if tall else ""}"><table class="numbers"><tr>{head}</tr>{body}</table></div>'


def hint(text: str) -> str:
    """A `?` that explains on hover, and to a screen reader, the word before it."""
    said = html.escape(text, quote=True)
    return f'<span class="hint" tabindex="0" role="note" title="{said}" aria-label="{said}">?</span>'
