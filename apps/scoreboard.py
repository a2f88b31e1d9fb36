"""The Scoreboard: all papers × verdicts, and first of all what came out otherwise."""

import html
from typing import Any
from urllib.parse import quote

import panel_material_ui as pmui
import polars as pl

from apps.claims_state import matrix
from apps.live import follow
from apps.runs_state import STATUS
from apps.shell import METHODS, PAGES, card, empty, markup, page, trouble
from apps.source import Source
from apps.style import MATRIX, TILES, chip_link, runs_link, tile
from workbench import display
from workbench.report import ours

SENTENCE = "How the published claims stand on this machine, paper by paper."
MOST_LISTED = 8


def create(source: Source) -> pmui.Page:
    """The page for one session."""
    body = pmui.Column(sizing_mode="stretch_width", sx={"gap": "16px"})

    def draw() -> None:
        try:
            body.objects = _content(source)
        except ValueError as error:
            body.objects = [trouble(error)]

    follow(source, draw)
    draw()
    return page("./", SENTENCE, [], [body])


def claims_link(paper: str = "", verdict: str = "", claim: str = "") -> str:
    """The address of the Claims page with these filters."""
    wanted = {"paper": f'["{paper}"]' if paper else "", "verdict": f'["{verdict}"]' if verdict else "", "claim": claim}
    query = "&".join(f"{name}={quote(value)}" for name, value in wanted.items() if value)
    return f"claims?{query}" if query else "claims"


def _link(paper: str = "", verdict: str = "", claim: str = "") -> str:
    return html.escape(claims_link(paper, verdict, claim), quote=True)


def _content(source: Source) -> list[Any]:
    rows = source.claims()
    if not rows.height:
        return [card(empty("No paper is in the catalogue", "workbench list"))]
    against = rows.filter(pl.col("verdict").is_in(["contradicted", "not reproduced"]))
    parts = [markup(tiles(rows), TILES)]
    if not rows["run_id"].drop_nulls().len():
        parts.append(card(empty("No claim has been tested here yet", "workbench reproduce")))
    if against.height:
        parts.append(card(markup(_against(against), TILES), title="What came out otherwise"))
    parts.append(card(markup(matrix_html(rows, source), MATRIX), title="Papers × verdicts"))
    runs = source.runs()
    return [*parts, card(markup(_latest(runs), TILES), title="Latest runs")] if runs.height else parts


def tiles(rows: pl.DataFrame) -> str:
    """The number of claims by verdict, each a link to them."""
    counts = dict(rows["verdict"].value_counts().iter_rows())
    each = "".join(
        tile(counts.get(name, 0), _link(verdict=name), f"{style.icon} {name}", style.meaning, style.colour)
        for name, style in display.VERDICTS.items()
    )
    return f'<ul class="tiles">{each}</ul>'


def matrix_html(rows: pl.DataFrame, source: Source) -> str:
    """Papers × verdicts as a table of links."""
    verdicts, table = matrix(rows)
    papers = source.papers()
    head = "".join(f'<th class="n" scope="col"><b>{display.VERDICTS[v].icon}</b>{v}</th>' for v in verdicts)
    body = "".join(
        f'<tr><td class="name"><a href="{_link(paper)}"><strong>{html.escape(paper)}</strong></a>'
        f'<span class="title">{html.escape(papers[paper].title)} ({papers[paper].year})</span>{_method(paper)}</td>'
        + "".join(
            f'<td class="n">{chip_link(v, counts[v], claims_link(paper, v))}</td>' if v in counts
            else '<td class="n none">·</td>'
            for v in verdicts
        )
        + "</tr>"
        for paper, counts in table.items()
    )  # fmt: skip
    return (
        f'<div class="wide tall"><table class="matrix"><thead><tr><th scope="col">paper</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _method(paper: str) -> str:
    """The link to the page of a paper's method, where there is one."""
    url = METHODS.get(paper)
    return f'<a class="small" href="{url}">{html.escape(PAGES[url])}</a>' if url else ""


def _against(rows: pl.DataFrame) -> str:
    """The negative verdicts one by one, the strongest first."""
    items = "".join(
        f"<li><span>{display.verdict_chip(row['verdict'])}</span><span><a href="
        f'"{_link(claim=row["claim_id"])}">{html.escape(row["statement"])}</a><br>'
        f'<span class="dim small">{html.escape(row["paper"])}: published {html.escape(row["published_text"])}, '
        f"here {html.escape(ours(row))}</span></span></li>"
        for row in rows.sort("verdict", maintain_order=True).head(MOST_LISTED).iter_rows(named=True)
    )
    more = rows.height - MOST_LISTED
    left = f'<p class="dim small">and {more} more: <a href="claims">all claims</a></p>' if more > 0 else ""
    return f'<ul class="rows">{items}</ul>{left}'


def _latest(runs: pl.DataFrame) -> str:
    """The newest runs, each a link to its curves."""
    items = "".join(
        f"<li><span>{STATUS[row['status']]} {row['status']}</span><span>"
        f'<a href="{runs_link(row["run_id"])}">'
        f"{html.escape(row['study'])}</a> <span class='dim small'>{row['started']:%d %B %Y, %H:%M} UTC, "
        f"{display.number(row['wall_s'])} s, {display.number(row['n_rows'])} rows</span></span></li>"
        for row in runs.head(5).iter_rows(named=True)
    )
    return f'<ul class="rows">{items}</ul>'
