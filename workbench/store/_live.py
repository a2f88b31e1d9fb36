"""What a reader sees beside the catalogue: the runs that it lacks, read from their folders, files by their tails."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.store._catalogue import FACTS, count_rows, load_facts, load_metrics, summarise
from workbench.store._folder import RunState
from workbench.store._paths import run_key, segments
from workbench.store._segment import whole_lines

if TYPE_CHECKING:
    import duckdb


@dataclass
class Live:
    """The tables `live_*` of a reader's connection, and how much of each metrics file is in them."""

    con: "duckdb.DuckDBPyConnection"
    offsets: dict[Path, int] = field(default_factory=dict)
    states: dict[str, RunState] = field(default_factory=dict)

    def create(self) -> None:
        """Make the empty tables, with the columns that the catalogue's have."""
        for table in (*FACTS, "metrics", "summary"):
            self.con.execute(f"CREATE TABLE IF NOT EXISTS live_{table} AS FROM cat.{table} LIMIT 0")

    def update(self, states: list[RunState]) -> None:
        """Show exactly `states`: forget other runs, read new facts again, and of metrics only what is new."""
        kept = {state.run_id: state for state in states}
        self._forget([run_id for run_id in self.states if run_id not in kept])
        for table in FACTS:
            self.con.execute(f"DELETE FROM live_{table}")
        load_facts(self.con, states, "live_")
        grown = self._read_tails(states)
        if grown:
            summarise(self.con, "live_", [run_key(run_id) for run_id in grown])
        count_rows(self.con, "live_runs", "live_summary")
        self.states = kept

    def _forget(self, run_ids: list[str]) -> None:
        keys = [run_key(run_id) for run_id in run_ids]
        for table in ("metrics", "summary"):
            self.con.execute(f"DELETE FROM live_{table} WHERE run_key IN (SELECT unnest($1::BIGINT[]))", [keys])
        gone = {self.states[run_id].folder for run_id in run_ids}
        self.offsets = {path: at for path, at in self.offsets.items() if path.parent not in gone}

    def _read_tails(self, states: list[RunState]) -> list[str]:
        """Load the whole lines behind the offsets; returns the runs that had any."""
        grown: dict[str, None] = {}
        with tempfile.TemporaryDirectory(prefix="workbench-") as folder:
            parts = []
            for state in states:
                for path in segments(state.folder) if state.folder.is_dir() else []:
                    part = Path(folder) / f"{len(parts)}.jsonl"
                    start = self.offsets.get(path, 0)
                    self.offsets[path] = _copy_lines(path, start, part)
                    if self.offsets[path] > start:
                        parts.append((part, run_key(state.run_id)))
                        grown[state.run_id] = None
            load_metrics(self.con, "live_metrics", parts)
        return list(grown)


def _copy_lines(source: Path, start: int, target: Path) -> int:
    """Copy the whole lines of `source` behind `start` to `target`; returns where the next, unfinished one begins."""
    with target.open("wb") as copy:
        return start + sum(map(copy.write, whole_lines(source, start)))
