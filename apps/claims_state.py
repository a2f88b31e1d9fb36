"""The state of the Claims page: filters and the chosen claim, and the rows that follow from them. No browser needed."""

import json
from typing import Any

import param
import polars as pl

from apps.source import Source, search
from workbench import display
from workbench.scoreboard import tested_first

URL = {"papers": "paper", "verdicts": "verdict", "evidence": "evidence", "text": "q", "claim": "claim"}
SEARCHED = ["paper", "claim", "statement", "quantity", "verdict_reason"]


class ClaimsState(param.Parameterized):
    """Which claims are shown and which one is looked at. An empty filter lets everything through."""

    papers = param.List(default=[], item_type=str)
    verdicts = param.List(default=[], item_type=str)
    evidence = param.List(default=[], item_type=str)
    text = param.String(default="")
    claim = param.String(default="")
    version = param.Integer(default=0)

    def __init__(self, source: Source, **params: Any) -> None:
        super().__init__(**params)
        self.source = source

    def all_rows(self) -> pl.DataFrame:
        """Every claim of every paper."""
        return self.source.claims()

    def rows(self, without: str = "") -> pl.DataFrame:
        """The claims that pass the filters, tested ones first.

        `without` leaves one filter out, so that its own counts can be shown.
        """
        frame = self.all_rows()
        for name, column in (("papers", "paper"), ("verdicts", "verdict"), ("evidence", "evidence")):
            wanted = getattr(self, name)
            if wanted and name != without:
                frame = frame.filter(pl.col(column).is_in(wanted))
        return tested_first(search(frame, SEARCHED, self.text))

    def counts(self, column: str, without: str) -> dict[str, int]:
        """How many claims the other filters leave for each value of a column."""
        return dict(self.rows(without)[column].value_counts().iter_rows())

    def chosen(self) -> dict[str, Any] | None:
        """The claim that is looked at, as a row; None when there is none of that name."""
        found = self.all_rows().filter(pl.col("claim_id") == self.claim)
        return found.row(0, named=True) if found.height else None

    def reset(self) -> None:
        """Let everything through again."""
        self.param.update(papers=[], verdicts=[], evidence=[], text="")

    def python(self) -> str:
        """The Python lines that give the shown rows."""
        lines = [
            "import polars as pl",
            "",
            "from workbench import store",
            "from workbench.scoreboard import scoreboard",
            "",
            f"rows = scoreboard(store.open({self.source.written()}))",
        ]
        for name, column in (("papers", "paper"), ("verdicts", "verdict"), ("evidence", "evidence")):
            if getattr(self, name):
                lines.append(f'rows = rows.filter(pl.col("{column}").is_in({json.dumps(getattr(self, name))}))')
        lines += [f"said = pl.concat_str({json.dumps(SEARCHED)}, ignore_nulls=True)"] * bool(self.text.split())
        lines += [
            f"rows = rows.filter(said.str.to_lowercase().str.contains({json.dumps(word)}, literal=True))"
            for word in self.text.lower().split()
        ]
        return "\n".join([*lines, "print(rows)"])


def claim_python(row: dict[str, Any], source: Source) -> str:
    """The Python lines that test one claim again and look at its newest result."""
    where = f", path={source.written()}" if source.written() else ""
    call = f'rows = workbench.reproduce(["{row["paper"]}"], preset="{row["preset"]}"{where})'
    return "\n".join(("import workbench", "", call, f'print(rows.filter(claim="{row["claim"]}").to_dicts()[0])'))


def matrix(rows: pl.DataFrame) -> tuple[list[str], dict[str, dict[str, int]]]:
    """Papers × verdicts: the verdicts that occur, in their order, and for each paper how often each does."""
    occur = [name for name in display.VERDICTS if name in set(rows["verdict"])]
    table: dict[str, dict[str, int]] = {}
    for paper, verdict, n in rows.group_by("paper", "verdict", maintain_order=True).len().iter_rows():
        table.setdefault(paper, {})[verdict] = n
    return occur, dict(sorted(table.items()))
