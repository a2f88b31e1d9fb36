"""The scoreboard for people: a table in the terminal, and one self-contained HTML file without script or requests."""

import datetime
import html
from collections import Counter
from collections.abc import Iterable
from importlib import metadata
from typing import TYPE_CHECKING, Any

from workbench import display, studies
from workbench.scoreboard import scoreboard, tested_first
from workbench.signature import signature_svg

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table

    from workbench.store import Log

_CSS = """
:root{color-scheme:light}
body{font:15px/1.5 system-ui,sans-serif;color:#1A1A1A;background:#fff;max-width:1180px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.7rem;margin:0}h2{font-size:1.25rem;margin:2.5rem 0 .2rem}
.dim{color:#5F5F5F}p{margin:.3rem 0}
.counts{display:flex;flex-wrap:wrap;gap:.6rem;margin:1rem 0;padding:0;list-style:none}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;margin:1rem 0;font-size:14px}
th{text-align:left;font-weight:600;border-bottom:2px solid #1A1A1A;padding:.3rem .6rem;white-space:nowrap}
td{border-bottom:1px solid #E3E3E3;padding:.4rem .6rem;vertical-align:top}
a{color:#0072B2;text-decoration:none}a:hover{text-decoration:underline}
td:first-child{min-width:19rem}td:nth-child(2){max-width:9rem}td:nth-child(6){white-space:nowrap}
td.number{font-variant-numeric:tabular-nums}
code{background:#F3F3F3;border-radius:4px;padding:.1em .4em}
@media print{body{margin:0;max-width:none}tr{break-inside:avoid}}
"""
_COLUMNS = ("claim", "published", "here", "ratio", "evidence", "verdict", "why")


def ours(row: dict[str, Any]) -> str:
    """What was found here, with its interval and unit: measured or simulated, and what a model says beside it."""
    found = [column for column in ("measured", "modelled") if row[column] is not None] or ["modelled"]
    told = [display.interval(row[name], row[f"{name}_lo"], row[f"{name}_hi"], row["unit"] or "") for name in found]
    return f", {display.EVIDENCE['modelled']}\u00a0".join(told)


def report_text(
    frame: "pl.DataFrame", *, everything: bool = False, statements: bool = False, width: int = 120
) -> "Table":
    """The command's scoreboard: tested claims first, those not testable as one line a paper unless `everything`.

    A claim is named by its key; with `statements` the sentence and what is missing stand below, and intervals beside.
    On a screen of less than 104 characters, `width`, paper and ratio are left out.
    """
    from rich import box
    from rich.table import Table

    rows = tested_first(frame).to_dicts()
    shown = [row for row in rows if everything or row["verdict"] != "not testable"]
    # Fixed widths, so that only the claim folds.
    paper = max([len("paper"), *(len(row["paper"]) for row in shown)])
    widths = {"paper": paper, "claim": None, "published": 12, "here": 12, "ratio": 6, "evidence": 8, "verdict": 17}
    widths |= {"published": 18, "here": 22} if statements else {}
    names = [name for name in widths if width >= 104 or name not in ("paper", "ratio")]
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for name in names:
        justify = "center" if name == "evidence" else "left"
        table.add_column(name, justify=justify, width=widths[name], overflow="fold")
    for row in shown:
        cells = _cells(row, statements)
        table.add_row(*(cells[name] for name in names))
    folded = Counter(row["paper"] for row in rows if row not in shown)
    if folded:
        told = ", ".join(f"{count} of {paper}" for paper, count in folded.items())
        table.caption_justify = "left"
        table.caption = f"{display.verdict_text('not testable')} here: {told}; --everything lists them"
    return table


def _cells(row: dict[str, Any], statements: bool) -> dict[str, str]:
    from rich.markup import escape

    style = display.VERDICTS[row["verdict"]]
    verdict = f"[{'bold ' if style.solid else ''}{style.colour}]{display.verdict_text(row['verdict'])}[/]"
    verdict += " [dim](stale)[/]" if row["stale"] else ""
    here = ours(row) if statements else ours(row | {"measured_lo": None, "modelled_lo": None})
    claim = escape(row["claim"])
    if statements:
        said = " ".join((row["statement"], f"({row['not_testable']})" if row["not_testable"] else ""))
        claim += f"\n[dim]{escape(said)}[/]"
    return {
        "paper": escape(row["paper"]),
        "claim": claim,
        "published": escape(row["published_text"]),
        "here": escape(here),
        "ratio": display.number(row["ratio"]),
        "evidence": display.EVIDENCE[row["evidence"]],
        "verdict": verdict,
    }


def report(log: "Log", slugs: Iterable[str] | None = None) -> str:
    """All claims of the studies `slugs` (all when None) and how they stand, as one self-contained HTML file."""
    chosen = list(studies.find() if slugs is None else slugs)
    frame = scoreboard(log, chosen)
    body = "".join(_paper(slug, frame.filter(frame["paper"] == slug)) for slug in chosen)
    now = datetime.datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z")
    version = metadata.version("parallel-workbench")
    papers = f"{len(chosen)} paper{'' if len(chosen) == 1 else 's'}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Is it what the papers said?</title><style>{_CSS}</style></head><body>"
        "<h1>Is it what the papers said?</h1>"
        f'<p class="dim">{frame.height} claims of {papers}, {now}, parallel-workbench {version}</p>'
        f"{_counts(frame)}{body}{_key()}{_machines(log, frame)}</body></html>"
    )


def _counts(frame: "pl.DataFrame") -> str:
    counts = dict(frame["verdict"].value_counts().iter_rows())
    items = "".join(
        f"<li><strong>{counts[name]}</strong> {display.verdict_chip(name)}</li>"
        for name in display.VERDICTS
        if name in counts
    )
    return f'<ul class="counts">{items}</ul>'


def _paper(slug: str, rows: "pl.DataFrame") -> str:
    paper, _ = studies.claims(slug)
    link = html.escape(paper.link, quote=True)
    title = f'<a href="{link}">{html.escape(paper.title)}</a>' if link else html.escape(paper.title)
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    body = "".join(_row(row) for row in tested_first(rows).iter_rows(named=True))
    presets = sorted({p for p, v in rows.select("preset", "verdict").iter_rows() if v != "not testable"}, reverse=True)
    how = " &nbsp; ".join(f"<code>workbench reproduce {slug} --preset {preset}</code>" for preset in presets)
    return (
        f"<h2>{title}</h2>"
        f'<p class="dim">{html.escape(paper.authors)}, {paper.year}. {html.escape(paper.summary)}</p>'
        f"{signature_svg(rows, width=900)}"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        + (f"<p>Run it again: {how}</p>" if how else "")
    )


def _row(row: dict[str, Any]) -> str:
    mark, evidence = display.EVIDENCE[row["evidence"]], row["evidence"]
    published = html.escape(row["published_text"])
    if not row["verified"]:
        published += ' <span class="dim" title="not checked against the paper">(not verified)</span>'
    stale = '<br><span class="dim">stale: the claim was reworded since; judged again</span>' if row["stale"] else ""
    return (
        f"<tr><td><strong>{html.escape(row['claim'])}</strong><br>{html.escape(row['statement'])}"
        f"<br><span class='dim'>{html.escape(row['source'])}</span></td>"
        f'<td class="number">{published}</td><td class="number">{html.escape(ours(row))}</td>'
        f'<td class="number">{display.number(row["ratio"])}</td>'
        f'<td class="number" title="{display.EVIDENCE_HELP[evidence]}">{mark} {evidence}</td>'
        f"<td>{display.verdict_chip(row['verdict'])}{stale}</td>"
        f"<td>{html.escape(row['verdict_reason'] or '')}</td></tr>"
    )


def _key() -> str:
    """What the marks and the words mean."""
    evidence = "".join(
        f"<li>{display.EVIDENCE[name]} {name}: {text}</li>" for name, text in display.EVIDENCE_HELP.items()
    )
    verdicts = "".join(f"<li>{display.verdict_chip(n)} {style.meaning}</li>" for n, style in display.VERDICTS.items())
    return (
        "<h2>How to read it</h2><p>The plot divides ours by the published figure (dashed). The pale band is what the "
        "tolerance allows, written before the run.</p>"
        f'<ul class="counts">{evidence}</ul><ul style="list-style:none;padding:0;line-height:2">{verdicts}</ul>'
    )


def _machines(log: "Log", frame: "pl.DataFrame") -> str:
    """The machines that the shown results were found on."""
    ids = [run_id for run_id in frame["run_id"].unique().to_list() if run_id]
    query = (
        "SELECT m.os, m.cpu, m.cores, m.memory_bytes, m.gpus, count(*) AS runs, max(r.started) AS latest "
        "FROM machines m JOIN runs r USING (machine_id) WHERE r.run_id IN (SELECT unnest($1::VARCHAR[])) "
        "GROUP BY ALL ORDER BY latest DESC"
    )
    found = log.sql(query, [ids]).to_dicts()
    if not found:
        return ""
    rows = "".join(
        f"<tr><td>{html.escape(str(m['cpu'] or m['os']))}</td><td>{m['cores']}</td>"
        f"<td>{display.number((m['memory_bytes'] or 0) / 2**30)} GiB</td>"
        f"<td>{html.escape(', '.join(m['gpus'] or []) or 'none')}</td><td>{html.escape(str(m['os']))}</td>"
        f"<td>{m['runs']}</td><td>{m['latest']:%d %B %Y}</td></tr>"
        for m in found
    )
    head = "".join(f"<th>{n}</th>" for n in ("processor", "cores", "memory", "GPUs", "system", "runs", "latest"))
    return f'<h2>Found on</h2><div class="wide"><table><tr>{head}</tr>{rows}</table></div>'
