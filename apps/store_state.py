"""The state of the Store page: what the store holds, and what the last check found. No browser needed."""

from typing import Any

import param
import polars as pl

from apps.runs_state import STATUS
from apps.source import Source
from workbench import display, store


class StoreState(param.Parameterized):
    """The store as the pages see it; `report` is the last check, and None until the first is through."""

    report = param.ClassSelector(class_=store.CheckReport, default=None, allow_None=True)
    version = param.Integer(default=0)

    def __init__(self, source: Source, **params: Any) -> None:
        super().__init__(**params)
        self.source = source

    def counts(self) -> dict[str, int]:
        """How many runs have each status, in the order of the statuses."""
        found = dict(self.source.runs()["status"].value_counts().iter_rows())
        return {status: found.get(status, 0) for status in STATUS}

    def check(self) -> store.CheckReport:
        """Look at everything in the store, which takes long where there are many runs.

        Raises as `workbench.store.check` does.
        """
        return store.check(self.source.path)

    def machines(self) -> pl.DataFrame:
        """One row a machine that made runs, the last used first."""
        return self.source.machines()

    def evidence(self) -> pl.DataFrame:
        """One row a file of evidence beside the runs. Raises `ValueError` for a file that is none."""
        return store.evidence(self.source.path)

    def check_python(self) -> str:
        """The Python lines that make the same check."""
        lines = [
            "from workbench import store",
            "",
            f"report = store.check({self.source.written()})",
            "print(report)",
            "for finding in report.findings:",
            "    print(finding.what, *finding.names, finding.command, sep='\\n    ')",
        ]
        return "\n".join(lines)

    def machines_python(self) -> str:
        """The Python lines that give the table of machines."""
        return f"from workbench import store\n\nprint(store.open({self.source.written()}).machines())"

    def evidence_python(self) -> str:
        """The Python lines that give the table of evidence."""
        return f"from workbench import store\n\nprint(store.evidence({self.source.written()}))"


def size(n: float) -> str:
    """Bytes with three significant digits and an SI unit: `3.94 MB`."""
    thousands = 0
    while n >= 999.5 and thousands < 4:
        n, thousands = n / 1000, thousands + 1
    return f"{display.number(n)}\u2009{('B', 'kB', 'MB', 'GB', 'TB')[thousands]}"
