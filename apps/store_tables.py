"""What the Store page says in words and tables: the place, what a check found, machines, files of evidence."""

import html
from collections import Counter
from datetime import datetime
from typing import Any

import polars as pl

from apps.runs_state import STATUS
from apps.store_state import StoreState, size
from apps.style import LINE, definitions, hint, numbers, runs_link, tile
from workbench import display
from workbench.store import CheckReport, Finding

MOST_NAMES = 5
FOUND = f"""
ul.found{{list-style:none;padding:0;margin:.5rem 0 0}}
.found li{{padding:.5rem 0;border-top:1px solid {LINE};overflow-wrap:anywhere}}
.fault{{color:{display.VERDICTS["contradicted"].colour};font-weight:600}}
.well{{color:{display.VERDICTS["reproduced"].colour};font-weight:600}}
"""
_LOOKING = '<span class="dim">looking …</span>'
_NOTHING = '<p class="dim">No run has told of a machine yet.</p>'
_NO_EVIDENCE = (
    '<p class="dim">No file of evidence lies beside these runs. This keeps a finished run as one, to be committed: '
    "<code>workbench store evidence RUN</code></p>"
)


def tiles_html(counts: dict[str, int]) -> str:
    """How many runs have each status, each a link to them."""
    each = (tile(n, runs_link(status=name), f"{STATUS[name]} {name}") for name, n in counts.items())
    return f'<ul class="tiles">{"".join(each)}</ul>'


def facts_html(state: StoreState) -> str:
    """Where the store lies, how large it is, and how far the catalogue follows the runs."""
    report, log = state.report, state.source.log
    catalogue = f"generation {log.generation}" if log.generation else "none yet"
    facts = {
        "place": f"<code>{html.escape(str(log.path))}</code>",
        "runs": f"{display.number(state.source.runs().height)}, {_size(report, 'runs_bytes')}",
        "catalogue": f"{catalogue}, {_size(report, 'catalogue_bytes')}" if log.generation else catalogue,
        "schema": (str(report.schema_version) if report else _LOOKING) if log.generation else "",
        "last synced": (_when(report.synced) if report else _LOOKING) if log.generation else "",
        "not in it yet": f"{display.number(len(log.live))} {hint(_LIVE)}",
    }
    return definitions(facts)


_LIVE = "Runs that are read from their own folders: running ones, and ended ones until the next sync. All are shown."


def _size(report: CheckReport | None, name: str) -> str:
    return _LOOKING if report is None else size(getattr(report, name))


def _when(at: datetime | None) -> str:
    return f"{at:%d %B %Y, %H:%M} UTC" if at else "–"


def report_html(report: CheckReport, runs: set[str]) -> str:
    """Whether the store is sound, and each finding with the command that mends it; `runs` are those with a page."""
    found = "".join(_finding(finding, runs) for finding in report.findings)
    said = (
        '<span class="well">✓ well</span>: nothing is missing, torn or lying around.'
        if report.ok
        else '<span class="fault">✗ not well</span>: see what is marked below.'
    )
    return f"<p>{said}</p>" + (f'<ul class="found">{found}</ul>' if found else "")


def _finding(finding: Finding, runs: set[str]) -> str:
    named = [
        f'<a href="{runs_link(name)}">{html.escape(name)}</a>' if name in runs else html.escape(name)
        for name in finding.names[:MOST_NAMES]
    ]
    more = len(finding.names) - MOST_NAMES
    named += [f"and {display.number(more)} more"] if more > 0 else []
    mark = '<span class="fault">✗</span> ' if finding.fault else ""
    command = f"<pre>{html.escape(finding.command)}</pre>" if finding.command else ""
    said = f"{mark}<strong>{display.number(len(finding.names))}</strong> {html.escape(finding.what)}"
    return f'<li>{said}<div class="dim small">{", ".join(named)}</div>{command}</li>'


def machines_html(machines: pl.DataFrame) -> str:
    """The machines that made runs."""
    if machines.is_empty():
        return _NOTHING
    heads = ("processor", "GPU", "cores", "memory", "runs", "first run", "last run")
    rows = [
        (
            f'{html.escape(row["cpu"] or "–")} <span class="dim small">{html.escape(row["host"] or "")}</span>',
            _gpus(row["gpus"]), display.number(row["cores"]),
            size(row["memory_bytes"]) if row["memory_bytes"] else "–", display.number(row["runs"]),
            _day(row["first_run"]), _day(row["last_run"]),
        )
        for row in machines.iter_rows(named=True)
    ]  # fmt: skip
    return numbers(heads, rows, words=2)


def evidence_html(evidence: pl.DataFrame, runs: set[str]) -> str:
    """The files of evidence; one whose run has been brought in leads to it."""
    if evidence.is_empty():
        return _NO_EVIDENCE
    rows = []
    for row in evidence.iter_rows(named=True):
        name = html.escape(row["run_id"])
        link = f'<a href="{runs_link(row["run_id"])}">{name}</a>' if row["run_id"] in runs else name
        preset, commit = html.escape(row["preset"] or "–"), (row["commit"] or "–")[:7]
        rows.append((link, preset, _machine(row), _day(row["started"]), commit, size(row["bytes"])))
    return numbers(("run", "preset", "machine", "date", "commit", "size"), rows, words=3)


def _machine(row: dict[str, Any]) -> str:
    gpus = "" if not row["gpus"] else f", {_gpus(row['gpus'])}"
    return f"{html.escape(row['cpu'] or 'a processor')}, {display.number(row['cores'])} cores{gpus}"


def _gpus(told: list[str] | None) -> str:
    """`2 × NVIDIA H100 80GB HBM3`: the names alone, of what nvidia-smi tells."""
    counts = Counter(text.split(",")[0] for text in told or [])
    return ", ".join(html.escape(name if n == 1 else f"{n} × {name}") for name, n in counts.items()) or "–"


def _day(at: datetime) -> str:
    return f"{at:%d %b %Y}".replace(" ", "\u00a0")
