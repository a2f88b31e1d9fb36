"""Reading: a consistent picture of all runs, finished and running, as polars frames. Never a lock, never a server.

with store.open() as log:
    log.runs()
    log.sql("select verdict, count(*) as n from results group by verdict")
"""

import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from workbench.store import _frames, annotations
from workbench.store._folder import read_record
from workbench.store._paths import ANNOTATIONS, RUNS, catalogue, current_generation, locate, run_key, sql_folder
from workbench.store._sync import fresh_ids, known_runs, states, sync
from workbench.store._unknown import UnknownRun, resolve

if TYPE_CHECKING:
    import polars as pl

SYNC_ABOVE = 64  # ended runs that may wait outside the catalogue before `open` syncs
_ATTACH_TRIES = 10
_ANNOTATION_TABLES = """
CREATE TABLE annotated (run_id VARCHAR, added VARCHAR[], removed VARCHAR[], note VARCHAR, deleted BOOLEAN);
CREATE TABLE annotations (id VARCHAR, created_at TIMESTAMP, kind VARCHAR, run_id VARCHAR, tags VARCHAR[], text VARCHAR);
"""


class Log:
    """The store, read-only, as it stood at the last `refresh`; made by `store.open`. A context manager.

    `generation` numbers the attached catalogue (0: none yet), `live` names the runs that it lacks and that were read
    from their folders. One object may be used by several threads.
    """

    def __init__(self, root: Path) -> None:
        from workbench.store._catalogue import connect, migrate
        from workbench.store._live import Live

        self.path, self.generation = root, 0
        self._lock = threading.RLock()
        self._con = connect()
        self._con.execute("ATTACH ':memory:' AS cat")  # an empty catalogue, until there is a generation
        migrate(self._con, "cat")
        self._con.execute("USE memory")
        self._live = Live(self._con)
        self._live.create()
        self._con.execute(_ANNOTATION_TABLES)
        self._con.execute((sql_folder() / "views.sql").read_text(encoding="utf-8"))
        self._annotations_seen = -1
        self._known: dict[str, Any] = {}
        self.refresh()

    @property
    def live(self) -> list[str]:
        """The ids of the runs that are read from their folders: running ones, and ended ones until the next sync."""
        return sorted(self._live.states)

    def refresh(self) -> bool:
        """Attach the newest generation and read what was written since; returns whether anything had changed."""
        with self._lock:
            before = self._picture()
            self._attach()
            self._annotate()
            self._live.update(states(self.path, fresh_ids(self.path, self._known)))
            return self._picture() != before

    def sql(self, query: str, params: Sequence[Any] = ()) -> "pl.DataFrame":
        """The answer to a query in DuckDB's SQL, with `?` or `$1` for `params`.

        Views: runs, metrics, summary, papers, claims, results, machines, annotations; results_latest, claims_latest,
        claims_by_paper, drift. Raises `ValueError` when the query gives no table, and DuckDB's errors.
        """
        with self._lock:
            relation = self._con.sql(query, params=list(params))
            if relation is None:
                raise ValueError(f"query: {query!r:.200} gives no table; a SELECT does")
            return relation.pl()

    def runs(self) -> "pl.DataFrame":
        """One row a run, the newest first. `run_no` counts the runs of the catalogue and is null for a live run."""
        return self.sql("SELECT * FROM runs ORDER BY started DESC, run_id DESC")

    def metrics(self, run_id: str, names: Iterable[str] | None = None) -> "pl.DataFrame":
        """The metrics of a run: columns step, time (s since 1970) and one for each name, a row a step.

        Of several values at one step the last logged stands; null where a step has none. Raises `UnknownRun`, and
        `KeyError` that names the run's metrics for an unknown name.
        """
        with self._lock:
            run_id = self.resolve(run_id)
            wanted = None if names is None else self._check_names(run_id, [names] if isinstance(names, str) else names)
            table = self._table("metrics", run_id)
            query = f"SELECT step, time, name, value FROM {table} WHERE run_key = $1"
            if wanted is not None:
                query += " AND name IN (SELECT unnest($2::VARCHAR[]))"
            long = self.sql(query, [run_key(run_id)] + ([] if wanted is None else [wanted]))
        return _frames.wide(long, wanted)

    def curve(self, run_id: str, name: str, points: int = 2000) -> "pl.DataFrame":
        """At most about `points` rows (step, value) that look like the whole curve: minimum and maximum of each bucket.

        A shorter curve comes whole. A bucket that holds values which are not finite gives one of them too. Raises as
        `metrics` does, and `ValueError` unless points ≥ 4.
        """
        if points < 4:
            raise ValueError(f"points: {points!r} must be at least 4")
        with self._lock:
            run_id = self.resolve(run_id)
            self._check_names(run_id, [name])
            key = run_key(run_id)
            resumed = self._segments(run_id) > 1
            source = _frames.curve_source(self._table("metrics", run_id), resumed)
            n = self.sql(
                f"SELECT n FROM {self._table('summary', run_id)} WHERE run_key = $1 AND name = $2", [key, name]
            )
            if n.item() <= points:
                return self.sql(
                    _frames.curve_source(self._table("metrics", run_id), True) + " ORDER BY step", [key, name]
                )
            return self.sql(_frames.decimated(source, points // 2), [key, name])

    def summary(self, run_ids: Iterable[str] | None = None) -> "pl.DataFrame":
        """One row a run and metric: n, last_step, last, and lo and hi over the finite values. Raises `UnknownRun`."""
        if run_ids is None:
            return self.sql("SELECT * FROM summary ORDER BY run_id, name")
        chosen = [self.resolve(one) for one in ([run_ids] if isinstance(run_ids, str) else run_ids)]
        where = "WHERE run_id IN (SELECT unnest($1::VARCHAR[]))"
        return self.sql(f"SELECT * FROM summary {where} ORDER BY run_id, name", [chosen])

    def papers(self) -> "pl.DataFrame":
        """One row a paper, as the newest run that tested it saw it."""
        return self.sql("SELECT * FROM papers ORDER BY paper_id")

    def claims(self) -> "pl.DataFrame":
        """One row a claim of these papers; `row` holds all of it as JSON."""
        return self.sql("SELECT * FROM claims ORDER BY claim_id")

    def results(self, latest: bool = True) -> "pl.DataFrame":
        """The newest result of each claim; with `latest=False` all of them, oldest first."""
        view = "results_latest" if latest else "results"
        return self.sql(f"SELECT * FROM {view} ORDER BY claim_id, created_at, result_id")

    def machines(self) -> "pl.DataFrame":
        """One row a machine that made runs, the last used first: their number, and when the first and last began."""
        query = (
            "SELECT m.*, count(*) AS runs, min(r.started) AS first_run, max(r.started) AS last_run "
            "FROM machines m JOIN runs r USING (machine_id) GROUP BY ALL ORDER BY last_run DESC, machine_id"
        )
        return self.sql(query)

    def details(self, run_id: str) -> dict[str, Any]:
        """All that was recorded when the run began: config, code, packages, machine, sessions. Raises `UnknownRun`."""
        return read_record(self.path / RUNS / self.resolve(run_id))

    def artifacts(self, run_id: str) -> list[Path]:
        """The files that the run kept. Raises `UnknownRun`."""
        folder = self.path / RUNS / self.resolve(run_id) / "artifacts"
        return sorted(path for path in folder.rglob("*") if path.is_file())

    def artifact(self, run_id: str, name: str) -> bytes | None:
        """What the run kept as `name`; None when it kept no such thing. Raises `UnknownRun`."""
        file = self.path / RUNS / self.resolve(run_id) / "artifacts" / name
        return file.read_bytes() if file.is_file() else None

    def resolve(self, run_id: str) -> str:
        """The id of the run that `run_id` names: the whole id, or its beginning or end where only one run fits.

        Raises `UnknownRun` that names the nearest ids; a run that began after the last refresh is looked for first.
        """
        if self._shows(run_id):
            return run_id
        try:
            return resolve(run_id, self._ids())
        except UnknownRun:
            self.refresh()
            return resolve(run_id, self._ids())

    def close(self) -> None:
        """Give the files back."""
        with self._lock:
            self._con.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Log({str(self.path)!r}, generation={self.generation}, runs={len(self._ids())}, live={len(self.live)})"

    def _attach(self) -> None:
        """Attach the generation that CURRENT names. A sync may remove it first; then CURRENT names another by now."""
        import duckdb

        from workbench.store._catalogue import migrations, schema_version
        from workbench.store._ingest import quoted

        for attempt in range(_ATTACH_TRIES):
            generation = current_generation(self.path)
            if generation == self.generation:
                return
            try:
                self._con.execute(f"ATTACH '{quoted(catalogue(self.path, generation))}' AS incoming (READ_ONLY)")
                break
            except duckdb.IOException:
                if attempt == _ATTACH_TRIES - 1 or catalogue(self.path, generation).exists():
                    raise
        version = schema_version(self._con, "incoming")
        if version < max(migrations()):
            raise RuntimeError(f"the catalogue has the older schema_version {version}; run `workbench store sync` once")
        self._con.execute("DETACH incoming; DETACH cat")
        self._con.execute(f"ATTACH '{quoted(catalogue(self.path, generation))}' AS cat (READ_ONLY)")
        self.generation, self._known = generation, known_runs(self._con)

    def _annotate(self) -> None:
        from workbench.store._catalogue import load_rows

        file = self.path / ANNOTATIONS
        size = file.stat().st_size if file.exists() else 0
        if size == self._annotations_seen:
            return
        self._con.execute("DELETE FROM annotated; DELETE FROM annotations")
        load_rows(self._con, "annotated", [{"run_id": k, **row} for k, row in annotations.fold(self.path).items()])
        shown = ("id", "created_at", "kind", "run_id", "tags", "text")
        rows = [{name: event.get(name) for name in shown} for event in annotations.standing_events(self.path)]
        load_rows(self._con, "annotations", [row for row in rows if row["kind"] != "resume"])
        self._annotations_seen = size

    def _picture(self) -> tuple[Any, ...]:
        """What differs when a refresh has something new to show."""
        live = {run_id: (state.status, state.segments) for run_id, state in self._live.states.items()}
        return self.generation, self._annotations_seen, live, dict(self._live.offsets)

    def _shows(self, run_id: str) -> bool:
        """Whether this is the whole id of a run that is not deleted, without listing all runs."""
        with self._lock:
            if run_id not in self._known and run_id not in self._live.states:
                return False
            return not self._con.execute("SELECT 1 FROM annotated WHERE run_id = $1 AND deleted", [run_id]).fetchall()

    def _ids(self) -> list[str]:
        with self._lock:
            return [row[0] for row in self._con.execute("SELECT run_id FROM shown ORDER BY run_id").fetchall()]

    def _table(self, name: str, run_id: str) -> str:
        """Where the rows of one run lie: beside it or in the catalogue."""
        return f"live_{name}" if run_id in self._live.states else f"cat.{name}"

    def _segments(self, run_id: str) -> int:
        return self._live.states[run_id].segments if run_id in self._live.states else self._known[run_id].segments

    def _check_names(self, run_id: str, names: Iterable[str]) -> list[str]:
        table, key = self._table("summary", run_id), run_key(run_id)
        have = {row[0] for row in self._con.execute(f"SELECT name FROM {table} WHERE run_key = $1", [key]).fetchall()}
        wanted = list(names)
        for name in wanted:
            if name not in have:
                raise KeyError(f"names: {name!r} is no metric of run {run_id}; it has {sorted(have)[:20]}")
        return wanted


def open_log(path: str | os.PathLike[str] | None = None) -> Log:
    """Open the store at `path` (see `locate`) for reading: a consistent picture, running runs included.

    Syncs first when more than `SYNC_ABOVE` ended runs wait, the store is writable and nobody else syncs; otherwise
    nothing is written. Raises `StoreVersionError` for a store of a newer workbench.
    """
    root = locate(path)
    log = Log(root)
    waiting = sum(state.ended for state in log._live.states.values())
    if waiting > SYNC_ABOVE and os.access(root, os.W_OK):
        sync(root, wait=False)
        log.refresh()
    return log
