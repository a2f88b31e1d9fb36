"""The tables of the comparison: which two runs, their last values, and what they found of the same claims."""

import html
from typing import Any

import polars as pl

from apps.runs_state import STATUS
from apps.scoreboard import claims_link
from apps.style import numbers, runs_link
from workbench import display

MOST_ROWS = 12  # a longer table scrolls inside itself
PAIR = """
ul.pair{list-style:none;padding:0;margin:0 0 .3rem}
.pair li{display:grid;grid-template-columns:1rem 1fr;gap:0 .6rem;padding:.2rem 0;overflow-wrap:anywhere}
"""
# On a phone a claim takes the whole width, and what A and B found stands below it.
CLAIMS = """
.numbers td.word{min-width:15rem}
.numbers .value{margin-bottom:.25rem}
@media(max-width:600px){.numbers tr{display:grid;grid-template-columns:1fr 1fr}
.numbers td.word,.numbers th.word{grid-column:1/-1;border-bottom:0;padding-bottom:0;box-shadow:none}
.numbers td.n{white-space:normal}}
"""


def pair_html(runs: pl.DataFrame, pair: tuple[str, str]) -> str:
    """Which runs A and B are: status, when, how long, and the note."""
    rows = {row["run_id"]: row for row in runs.filter(pl.col("run_id").is_in(pair)).to_dicts()}
    items = ""
    for letter, run_id in zip("AB", pair, strict=True):
        row = rows[run_id]
        told = [f"{STATUS[row['status']]} {row['status']}", f"{row['started']:%d %B %Y, %H:%M} UTC"]
        told += [f"{display.number(row['wall_s'])} s"] if row["wall_s"] is not None else []
        told += [html.escape(row["note"])] if row["note"] else []
        link = f'<a href="{runs_link(run_id)}">{html.escape(run_id)}</a>'
        items += (
            f'<li><strong>{letter}</strong><span>{link} <span class="dim small">{", ".join(told)}</span></span></li>'
        )
    return f'<ul class="pair">{items}</ul>'


def values_html(values: pl.DataFrame) -> str:
    """The last value of every metric, and how many times as large it is in B."""
    if values.is_empty():
        return '<p class="dim">The two runs have logged no metrics.</p>'
    rows = [(_breakable(metric), *map(display.number, found)) for metric, *found in values.iter_rows()]
    return numbers(("metric", "A", "B", "B ÷ A"), rows, tall=len(rows) > MOST_ROWS)


def claims_html(claims: pl.DataFrame) -> str:
    """What both found of the same claims; where the verdicts differ comes first."""
    rows = sorted(claims.to_dicts(), key=lambda row: row["first_verdict"] == row["second_verdict"])
    differ = sum(row["first_verdict"] != row["second_verdict"] for row in rows)
    said = f"{len(rows)} claims, of which {differ or 'none'} came out with another verdict. {_HOW}"
    cells = [(_claim(row), _found(row, "first"), _found(row, "second")) for row in rows]
    table = numbers(("claim", "A", "B"), cells, tall=len(cells) > MOST_ROWS // 2)
    return f'<p class="dim small">{said}</p>{table}'


_HOW = "Values stand with their 95 % intervals, verdicts as they were judged then."


def _claim(row: dict[str, Any]) -> str:
    link = html.escape(claims_link(claim=row["claim_id"]), quote=True)
    return f'<a href="{link}">{html.escape(row["statement"] or row["claim_id"])}</a>'


def _found(row: dict[str, Any], run: str) -> str:
    """The value that a run found, and its verdict below."""
    value = display.interval(row[run], row[f"{run}_lo"], row[f"{run}_hi"], row["unit"] or "")
    verdict = row[f"{run}_verdict"]
    chip = display.verdict_chip(verdict) if verdict in display.VERDICTS else html.escape(verdict or "–")
    return f'<div class="value">{html.escape(value)}</div>{chip}'


def _breakable(name: str) -> str:
    """A metric's name that may be broken behind its slashes."""
    return html.escape(name).replace("/", "/<wbr>")
