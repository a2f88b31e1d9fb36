"""The state of the comparison: which two runs, and what follows from them. No browser needed."""

import json

import param
import polars as pl

from apps import curves_state
from apps.curves_state import CurvesState, natural
from workbench import store, studies
from workbench.comparison import Difference

URL = {"runs": "run", **curves_state.URL}


class CompareState(CurvesState):
    """Two runs, the first of which is what the second is held against; and how their curves are drawn."""

    runs = param.List(default=[], item_type=str)

    def settle(self) -> None:
        """Fill up to two different runs: what was asked for stands, ids that were shortened are written out."""
        asked = [self._whole(text) for text in dict.fromkeys(self.runs)]
        asked = list(dict.fromkeys(asked))[:2]
        if len(asked) == 1:
            other = self._partner(asked[0])
            asked += [other] if other else []
        self.runs = asked or newest_pair(self.source.runs())

    def pair(self) -> tuple[str, str] | None:
        """Both runs, when there are two and the store holds both."""
        have = set(self.source.runs()["run_id"])
        if len(self.runs) != 2 or not have.issuperset(self.runs):
            return None
        return self.runs[0], self.runs[1]

    def unknown(self) -> str:
        """Which of the runs that were asked for are not in the store, as sentences with the nearest ids."""
        told = []
        for run_id in self.runs:
            try:
                self.source.log.resolve(run_id)
            except store.UnknownRun as error:
                told.append(f"{str(error).removeprefix('run_id: ')}.")
        return " ".join(told)

    def command(self) -> str:
        """What would give a run to compare with."""
        known = self.source.runs()["study"].to_list()
        study = next((study for study in known if study in studies.find()), "")
        return f"workbench reproduce {study}".strip()

    def options(self) -> dict[str, str]:
        """All runs, the newest first, as a person reads them; and the ids that were asked for and are not here.

        When a run began comes first, because there is no room for a long line.
        """
        labels: dict[str, str] = {}
        for row in self.source.runs().iter_rows(named=True):
            status = "" if row["status"] == "finished" else f", {row['status']}"
            label = f"{row['started']:%d %b %Y %H:%M} {row['study']}{status}"
            label += f" {row['run_id'].rsplit('-', 1)[-1]}" if label in labels else ""
            labels[label] = row["run_id"]
        unknown = [run_id for run_id in self.runs if run_id not in labels.values()]
        return labels | {f"{run_id} (not here)": run_id for run_id in unknown}

    def choose(self, at: int, run_id: str) -> None:
        """Put a run at place 0 or 1; the one that stands at the other place changes places with it."""
        chosen = (self.runs + [""] * 2)[:2]
        if chosen[1 - at] == run_id:
            chosen[1 - at] = chosen[at]
        chosen[at] = run_id
        self.runs = [one for one in chosen if one]

    def swap(self) -> None:
        """Hold the first run against the second instead."""
        self.runs = self.runs[::-1]

    def drawn(self) -> list[str]:
        """The two runs, or none."""
        return list(self.pair() or ())

    def metric_names(self) -> list[str]:
        """The metrics that both runs have."""
        pair = self.pair()
        return self.source.last_values(*pair).drop_nulls(["first", "second"])["metric"].to_list() if pair else []

    def values(self) -> pl.DataFrame:
        """The last value of every metric of either run: columns metric, first, second, ratio; those of both first."""
        pair = self.pair()
        if not pair:
            return pl.DataFrame(schema={"metric": pl.String} | dict.fromkeys(("first", "second", "ratio"), pl.Float64))
        frame = self.source.last_values(*pair)
        keys = [(None in (a, b), natural(name)) for name, a, b in frame.select("metric", "first", "second").iter_rows()]
        return frame[sorted(range(frame.height), key=keys.__getitem__)]

    def differences(self) -> list[Difference]:
        """What differs in how the two came about; their values have a table of their own."""
        pair = self.pair()
        found = self.source.differences(*pair) if pair else []
        return [one for one in found if not one.group.startswith("metrics")]

    def claims(self) -> pl.DataFrame:
        """What the two found of the claims that both tested; no rows where they share none."""
        pair = self.pair()
        return self.source.same_claims(*pair) if pair else pl.DataFrame()

    def python(self) -> str:
        """The Python lines that give the drawn curves."""
        names = json.dumps(self.drawn_metrics())
        return self._python([], [f"print(log.metrics({run}, {names}))" for run in ("first", "second")])

    def values_python(self) -> str:
        """The Python lines that give the table of values."""
        return self._python(
            ["from workbench.comparison import last_values"], ["print(last_values(log, first, second))"]
        )

    def claims_python(self) -> str:
        """The Python lines that give what both found of the same claims."""
        return self._python(
            ["from workbench.comparison import same_claims"], ["print(same_claims(log, first, second))"]
        )

    def _python(self, imports: list[str], lines: list[str]) -> str:
        head = ["from workbench import store", *imports, "", f"log = store.open({self.source.written()})"]
        pair = self.pair()
        if not pair:
            return "\n".join([*head, "print(log.runs())"])
        return "\n".join([*head, f"first, second = {json.dumps(pair[0])}, {json.dumps(pair[1])}", *lines])

    def _whole(self, text: str) -> str:
        """The id that `text` is a beginning or an end of; `text` itself where no run or several fit."""
        try:
            return self.source.log.resolve(text)
        except store.UnknownRun:
            return text

    def _partner(self, run_id: str) -> str:
        """What a run is held against when nobody says: the newest other one of its study, or the newest at all."""
        rows = self.source.runs()
        study = rows.filter(run_id=run_id)["study"].to_list()
        others = rows.filter(pl.col("run_id") != run_id)
        alike = others.filter(pl.col("study").is_in(study))
        return next(iter([*alike["run_id"], *others["run_id"]]), "")


def newest_pair(runs: pl.DataFrame) -> list[str]:
    """The newest two runs of one study that both have metrics, else the newest two; the older one first.

    `runs` are the newest first, as the source gives them; fewer than two give what there is.
    """
    newest: dict[str, str] = {}
    for run_id, study in runs.filter(pl.col("n_rows") > 0).select("run_id", "study").iter_rows():
        if study in newest:
            return [run_id, newest[study]]
        newest[study] = run_id
    return runs["run_id"].head(2).to_list()[::-1]
