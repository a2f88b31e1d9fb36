"""`workbench list`, `show`, `runs` and `compare`: questions that a table answers."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from workbench import display, store, studies
from workbench.commands._console import output
from workbench.comparison import differences
from workbench.report import report_text
from workbench.scoreboard import scoreboard

if TYPE_CHECKING:
    from workbench.cli import Runs


def papers(path: Path | None) -> int:
    """One line a paper."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("paper", "year", "claims", "how they stand", "what it is about"):
        table.add_column(name, overflow="fold")
    with store.open(path) as log:
        rows = scoreboard(log)
    for slug in studies.find():
        paper, claims = studies.claims(slug)
        verdicts = dict(rows.filter(rows["paper"] == slug)["verdict"].value_counts().iter_rows())
        stand = "  ".join(
            f"{style.icon} {verdicts[name]}" for name, style in display.VERDICTS.items() if name in verdicts
        )
        table.add_row(f"[bold]{slug}[/]", str(paper.year), str(len(claims)), stand, paper.summary)
    console = output()
    console.print(table)
    console.print("  ".join(f"{style.icon} {name}" for name, style in display.VERDICTS.items()), style="dim")
    return 0


def paper(slug: str, path: Path | None) -> int:
    """One paper: its facts, its scoreboard, how to run it and how to cite it."""
    found, _ = studies.claims(slug)
    console = output()
    console.print(
        f"[bold]{found.title}[/]\n{found.authors}, {found.year}  {found.link}\n{found.summary}\n", highlight=False
    )
    with store.open(path) as log:
        console.print(report_text(scoreboard(log, [slug]), everything=True, statements=True, width=console.width))
    console.print(f"\nrun it:  workbench reproduce {slug}", highlight=False)
    if found.bibtex:
        console.print(f"\n{found.bibtex.strip()}", highlight=False, markup=False, soft_wrap=True)
    return 0


def runs(options: "Runs") -> int:
    """The newest runs, filtered."""
    import polars as pl

    with store.open(options.store) as log:
        frame = log.runs()
    if options.study:
        frame = frame.filter(pl.col("study") == options.study)
    if options.status:
        frame = frame.filter(pl.col("status") == options.status)
    if options.tag:
        frame = frame.filter(pl.col("tags").list.contains(options.tag))
    frame = frame.head(options.limit)
    if options.json:
        print(json.dumps(frame.to_dicts(), default=str, indent=1))
        return 0
    if not frame.height:
        print("no such run; record some with: workbench reproduce")
        return 0
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("run", "study", "status", "seconds", "rows", "tags", "note"):
        table.add_column(name)
    for row in frame.iter_rows(named=True):
        words = (
            row["run_id"],
            row["study"],
            row["status"],
            display.number(row["wall_s"]),
            display.number(row["n_rows"]),
        )
        table.add_row(*words, " ".join(row["tags"] or []), row["note"] or "")
    output().print(table)
    return 0


def compare(first: str, second: str, path: Path | None) -> int:
    """What differs between two runs, group by group."""
    console = output()
    with store.open(path) as log:
        known = log.runs()["run_id"].to_list()
        pair = [_complete(text, known) for text in (first, second)]
        found = differences(log, *pair)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("what", "", *pair):
        table.add_column(name, overflow="fold")
    for d in found:
        if d.group != "code":
            table.add_row(d.group, d.name, *(_shown(v) for v in (d.first, d.second)))
    console.print(table if table.row_count else "the two runs differ in nothing that was recorded")
    for d in (d for d in found if d.group == "code"):
        console.print(f"\n[bold]{d.name}[/]\n{d.first}", highlight=False)
    return 0


def _complete(text: str, known: list[str]) -> str:
    """The run id that `text` begins or ends; ambiguous or unknown text is refused."""
    found = [run_id for run_id in known if run_id.startswith(text) or run_id.endswith(text)]
    if len(found) != 1:
        raise KeyError(f"run: {text!r} fits {len(found)} runs; `workbench runs` lists them")
    return found[0]


def _shown(value: object) -> str:
    if value is None:
        return "–"
    return display.number(value) if isinstance(value, float) else str(value)
