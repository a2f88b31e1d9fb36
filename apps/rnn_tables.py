"""The tables below the figures of the page on parallel recurrences: the same numbers, a row a step, curve or point."""

import html

import numpy as np
import polars as pl

from apps.rnn_data import CELLS, SWEPT, Chain, solvers
from apps.rnn_figures import factor_text
from apps.style import numbers
from workbench import display

_CHAIN = ("cell", "what", "to", "before", "after", "factor", "over the turns")
_TALL = 14  # rows; a longer table scrolls inside itself
_MOST = 10  # iterations that each have a column; of more, a few are shown


def chain_html(chains: list[Chain]) -> str:
    """A row a step from one way to the next."""
    rows = []
    for chain in chains:
        for at, link in enumerate(chain.links()):
            first = CELLS.get(chain.cell, html.escape(chain.cell)) if at == 0 else ""
            milliseconds = (f"{display.number(t * 1e3)} ms" for t in (link.before, link.after))
            over = f"{display.number(link.lo)} … {display.number(link.hi)}"
            rows.append((first, link.kind, html.escape(link.name), *milliseconds, factor_text(link.factor), over))
    return numbers(_CHAIN, rows, words=3)


def residual_html(table: pl.DataFrame) -> str:
    """A row a curve, a column an iteration; of many iterations some, since the files hold all."""
    shown = shown_iterations(max(table["iteration"], default=0))
    rows = []
    for (cell, solver, steps), curve in table.group_by(["cell", "solver", "steps"], maintain_order=True):
        found = dict(curve.select("iteration", "residual").iter_rows())
        words = (CELLS.get(str(cell), html.escape(str(cell))), html.escape(str(solver)), display.number(steps))
        rows.append((*words, *(display.number(found[at]) if at in found else "" for at in shown)))
    heads = ("cell", "solver", "steps", *map(str, shown))
    left = f"; the files hold all {shown[-1] + 1}" if len(shown) <= shown[-1] else ""
    return f'<p class="dim small">Residual after that many iterations{left}.</p>' + numbers(heads, rows, words=2)


def sweep_html(frame: pl.DataFrame) -> str:
    """A row a point of the sweep; a dash where a solver did not converge."""
    named = solvers(frame)
    told = [name for name in SWEPT if name in frame.columns]
    heads = ({"gain": "gain g", "lyapunov": "λ"}.get(name, name) for name in told)
    rows = [
        (*(display.number(row[name]).replace("-", "−") for name in told), *(_count(row[name]) for name in named))
        for row in frame.iter_rows(named=True)
    ]
    return numbers((*heads, *map(html.escape, named)), rows, words=0, tall=len(rows) > _TALL)


def _count(iterations: float | None) -> str:
    if iterations is None:  # was not tried there
        return ""
    return display.number(iterations) if np.isfinite(iterations) else "–"


def history_html(history: pl.DataFrame) -> str:
    """The residual after each iteration of one solve, a row an iteration; of many some, since the files hold all."""
    shown = shown_iterations(history.height - 1)
    rows = [(str(at), display.number(history["residual"][at])) for at in shown]
    return numbers(("iteration", "largest residual"), rows, words=0)


def shown_iterations(last: int) -> list[int]:
    """0 to `last`, or of more than a few 0, 1, 2, 5, 10, 20, 50 … and the last."""
    if last <= _MOST:
        return list(range(last + 1))
    steps = [n * 10**k for k in range(len(str(last))) for n in (1, 2, 5)]
    return [0, *(n for n in steps if n < last), last]
