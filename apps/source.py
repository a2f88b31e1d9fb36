"""What the pages ask of the store, as frames. One source serves all sessions; it knows nothing of Panel."""

import json
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import polars as pl

from workbench import store, studies
from workbench.comparison import Difference, differences, last_values, same_claims
from workbench.scoreboard import scoreboard
from workbench.study import Paper

CHECK_EVERY_S = 1.5  # however many sessions ask, the store is looked at no more often


class Source:
    """The store behind the pages. `version` grows whenever something in it has changed."""

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = path
        self.log = store.open(path)
        self.version = 0
        self._checked = time.monotonic()
        self._lock = threading.RLock()
        self._kept: dict[str, tuple[Any, Any]] = {}

    def refresh(self) -> int:
        """Look whether a generation or a live run is new, at most every `CHECK_EVERY_S`; returns the version."""
        with self._lock:
            if time.monotonic() - self._checked >= CHECK_EVERY_S:
                if self.log.refresh():
                    self.version += 1
                self._checked = time.monotonic()
            return self.version

    def claims(self) -> pl.DataFrame:
        """The scoreboard over all papers. Raises `ValueError` when a TOML breaks the contract."""
        return self._cached("claims", (self.version, _stamp()), lambda: scoreboard(self.log))

    def papers(self) -> dict[str, Paper]:
        """The papers of the catalogue by slug."""
        return self._cached("papers", _stamp(), lambda: {slug: studies.claims(slug)[0] for slug in studies.find()})

    def runs(self) -> pl.DataFrame:
        """One row a run, the newest first."""
        return self._cached("runs", self.version, self.log.runs)

    def summary(self, run_ids: Iterable[str]) -> pl.DataFrame:
        """The last, smallest and largest value of every metric of these runs."""
        return self.log.summary(list(run_ids))

    def curve(self, run_id: str, name: str, by: str = "step", points: int = 1600) -> pl.DataFrame:
        """A curve thinned for the screen, as columns x and value; by "time", x is in seconds."""
        curve = self.log.curve(run_id, name, points)
        if by == "step":
            return curve.select(pl.col("step").alias("x"), "value")
        query = (
            "SELECT step, max(time) AS time FROM metrics WHERE run_id = $1 AND name = $2 "
            "AND step IN (SELECT unnest($3::BIGINT[])) GROUP BY step"
        )
        times = self.log.sql(query, [run_id, name, curve["step"].to_list()])
        first = self.log.sql("SELECT min(time) FROM metrics WHERE run_id = $1", [run_id]).item()
        joined = curve.join(times, on="step", maintain_order="left")
        return joined.select((pl.col("time") - first).alias("x"), "value")

    def values(self, run_id: str, names: list[str]) -> pl.DataFrame:
        """These metrics of a run: a row a step, a column each."""
        return self.log.metrics(run_id, names)

    def machine(self, run_id: str) -> str:
        """Where a run ran, in a few words: processor and cores."""
        found = self.log.sql(
            "SELECT m.cpu, m.cores FROM runs r JOIN machines m USING (machine_id) WHERE run_id = $1", [run_id]
        )
        return "" if not found.height else f"{found['cpu'][0] or 'a processor'}, {found['cores'][0]} cores"

    def machines(self) -> pl.DataFrame:
        """One row a machine that made runs, the last used first."""
        return self.log.machines()

    def differences(self, first: str, second: str) -> list[Difference]:
        """What differs between two runs."""
        return differences(self.log, first, second)

    def last_values(self, first: str, second: str) -> pl.DataFrame:
        """The last value of every metric of two runs, and their ratio."""
        return last_values(self.log, first, second)

    def same_claims(self, first: str, second: str) -> pl.DataFrame:
        """What two runs found of the claims that both tested."""
        return same_claims(self.log, first, second)

    def written(self) -> str:
        """The path of the store as it stands in Python code; empty for the usual one."""
        return "" if self.path is None else json.dumps(str(self.path))

    def _cached(self, name: str, key: Any, make: Callable[[], Any]) -> Any:
        with self._lock:
            if name not in self._kept or self._kept[name][0] != key:
                self._kept[name] = (key, make())
            return self._kept[name][1]


def _stamp() -> tuple[tuple[str, int], ...]:
    """What changes when a TOML of the catalogue does."""
    return tuple((str(toml), toml.stat().st_mtime_ns) for toml in studies.find().values())


def search(frame: pl.DataFrame, columns: list[str], text: str) -> pl.DataFrame:
    """The rows in whose `columns`, taken together, every word of `text` stands, in upper or lower case."""
    said = pl.concat_str(columns, ignore_nulls=True).str.to_lowercase()
    for word in text.lower().split():
        frame = frame.filter(said.str.contains(word, literal=True))
    return frame
