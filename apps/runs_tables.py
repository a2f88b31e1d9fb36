"""The tables of the Runs page: the list of runs, the numbers of the selected ones, what differs between two."""

import html
import json
from typing import Any

import panel as pn
import polars as pl

from apps.curves import short_id
from apps.runs_state import STATUS
from apps.style import LINE, TABLE
from workbench import display
from workbench.comparison import Difference

_COLUMNS = {
    "run": "run", "status": "status", "started": "started (UTC)", "seconds": "wall (s)", "rows": "rows", "tags": "tags",
    "note": "note", "commit": "commit",
}  # fmt: skip
_CELL = f'style="padding:.35rem .9rem .35rem 0;border-bottom:1px solid {LINE};vertical-align:top"'
_HEAD = 'style="padding:.35rem .9rem .35rem 0;border-bottom:1.5px solid #B9BEC6;white-space:nowrap"'


def list_table() -> pn.widgets.Tabulator:
    """The list of runs with a box to tick, one page of it at a time in the browser."""
    import pandas as pd

    return pn.widgets.Tabulator(
        pd.DataFrame(columns=list(_COLUMNS)), titles=_COLUMNS, show_index=False, disabled=True,
        selectable="checkbox", pagination="remote", page_size=15, layout="fit_data_stretch", margin=0,
        sizing_mode="stretch_width", stylesheets=[TABLE],
        formatters={"note": {"type": "textarea"}}, widths={"note": 230, "commit": 150},
        text_align={"seconds": "right", "rows": "right"}, header_align={"seconds": "right", "rows": "right"},
    )  # fmt: skip


def list_frame(rows: pl.DataFrame) -> Any:
    """The runs as the list shows them; pandas, because Tabulator takes nothing else."""
    import pandas as pd

    table = [
        {
            "run": short_id(row["run_id"]),
            "status": f"{STATUS[row['status']]} {row['status']}",
            "started": f"{row['started']:%Y-%m-%d %H:%M:%S}" if row["started"] else "–",
            "seconds": display.number(row["wall_s"]),
            "rows": display.number(row["n_rows"]),
            "tags": " ".join(row["tags"] or []),
            "note": row["note"] or row["error"] or "",
            "commit": _commit(row),
        }
        for row in rows.iter_rows(named=True)
    ]
    return pd.DataFrame(table, columns=list(_COLUMNS))


def _commit(row: dict[str, Any]) -> str:
    return (row["git_commit"] or "–")[:7] + (" + changes" if row["git_dirty"] else "")


def numbers_html(summary: pl.DataFrame, run_ids: list[str]) -> str:
    """Last value (smallest … largest) of each metric, a column a run."""
    if not summary.height:
        return '<p class="dim">The selected runs have logged no metrics.</p>'
    cells = {(row["run_id"], row["name"]): row for row in summary.iter_rows(named=True)}
    head = "".join(f"<th {_HEAD}>{html.escape(short_id(run_id))}</th>" for run_id in run_ids)
    body = ""
    for name in sorted({name for _, name in cells}):
        body += f"<tr><td {_CELL}>{html.escape(name)}</td>"
        for run_id in run_ids:
            row = cells.get((run_id, name))
            spread = "" if row is None else f"{display.number(row['lo'])} … {display.number(row['hi'])}"
            value = "–" if row is None else f"<strong>{display.number(row['last'])}</strong>"
            body += f'<td {_CELL}>{value} <span class="dim small">{spread}</span></td>'
        body += "</tr>"
    note = '<p class="dim small">The last value, and the smallest and largest finite one.</p>'
    return f'{note}<div class="wide"><table><tr><th {_HEAD}>metric</th>{head}</tr>{body}</table></div>'


def difference_html(found: list[Difference], first: str, second: str, note: str = "") -> str:
    """Only what differs between two runs: configuration, code, packages, machine, last values."""
    if not found:
        return '<p class="dim">The two runs differ in nothing that was recorded.</p>'
    head = "".join(f"<th {_HEAD}>{html.escape(text)}</th>" for text in ("", "", short_id(first), short_id(second)))
    body, shown = "", ""
    for d in (d for d in found if d.group != "code"):
        label = d.group if d.group != shown else ""
        shown = d.group
        cells = "".join(f"<td {_CELL}>{html.escape(_value(v))}</td>" for v in (d.first, d.second))
        body += (
            f'<tr><td {_CELL}><span class="dim">{label}</span></td><td {_CELL}>{html.escape(d.name)}</td>{cells}</tr>'
        )
    patches = "".join(
        f"<details><summary>{html.escape(d.name)}</summary><pre>{html.escape(str(d.first))}</pre></details>"
        for d in found
        if d.group == "code"
    )
    told = f'<p class="dim small">Only what differs{html.escape(note)}.</p>'
    return f'{told}<div class="wide"><table><tr>{head}</tr>{body}</table></div>{patches}'


def _value(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return display.number(value)
    return value if isinstance(value, str) else json.dumps(value)
