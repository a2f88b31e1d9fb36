"""Ended runs into a catalogue file: one transaction, keyed by run, so that doing it again changes nothing."""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from workbench.store._catalogue import FACTS, connect, count_rows, load_facts, load_metrics, migrate, summarise
from workbench.store._folder import RunState
from workbench.store._paths import run_key, segments

_OWNER = {"machines": "machine_id", "papers": "paper_id", "claims": "paper_id"}


def extend(file: Path, states: Sequence[RunState]) -> int:
    """Migrate the catalogue in `file` (made when missing), bring the runs in, checkpoint; returns the metric rows.

    A run that is there already is replaced. Papers, claims and machines stay those of the newest run that has them.
    """
    with connect(file) as con:
        name = con.execute("SELECT current_database()").fetchall()[0][0]
        migrate(con, name)
        con.execute("BEGIN")
        rows = _ingest(con, states)
        con.execute("COMMIT")
        con.execute("CHECKPOINT")
        return rows


def _ingest(con: duckdb.DuckDBPyConnection, states: Sequence[RunState]) -> int:
    keys = [run_key(state.run_id) for state in states]
    for table in ("runs", "metrics", "results"):
        con.execute(f"DELETE FROM {table} WHERE run_key IN (SELECT unnest($1::BIGINT[]))", [keys])
    for table in FACTS:
        con.execute(f"CREATE TEMP TABLE incoming_{table} AS FROM {table} LIMIT 0")
    load_facts(con, states, "incoming_")
    load_metrics(con, "metrics", [(file, run_key(s.run_id)) for s in states for file in segments(s.folder)])
    summarise(con, "", keys)
    count_rows(con, "incoming_runs", "summary")
    rows = con.execute("SELECT coalesce(sum(n_rows), 0)::BIGINT FROM incoming_runs").fetchall()[0][0]
    for table in FACTS:
        if table in _OWNER:
            _keep_newest(con, table, _OWNER[table])
        con.execute(f"INSERT INTO {table} FROM incoming_{table}")
        con.execute(f"DROP TABLE incoming_{table}")
    return rows


def _keep_newest(con: duckdb.DuckDBPyConnection, table: str, owner: str) -> None:
    """Of what is known of an owner (a paper, a machine) and what comes in, drop what the older run saw."""
    newest = f"SELECT max((seen, run_key)) FROM {table} t WHERE t.{owner} = incoming_{table}.{owner}"
    con.execute(f"DELETE FROM incoming_{table} WHERE (seen, run_key) < ({newest})")
    con.execute(f"DELETE FROM {table} WHERE {owner} IN (SELECT {owner} FROM incoming_{table})")


def compact(file: Path, into: Path) -> None:
    """Write what the catalogue in `file` holds into the new file `into`, without the space of deleted rows."""
    with connect() as con:
        con.execute(f"ATTACH '{quoted(file)}' AS old (READ_ONLY)")
        con.execute(f"ATTACH '{quoted(into)}' AS fresh")
        con.execute("COPY FROM DATABASE old TO fresh")
        con.execute("CHECKPOINT fresh")


def waste(file: Path) -> float:
    """Size of the catalogue file ÷ size of the blocks in use."""
    with connect() as con:
        con.execute(f"ATTACH '{quoted(file)}' AS cat (READ_ONLY)")
        total, used = con.execute(
            "SELECT total_blocks, used_blocks FROM pragma_database_size() WHERE database_name = 'cat'"
        ).fetchall()[0]
        return total / max(used, 1)


def quoted(path: Path) -> str:
    """A path inside single quotes of SQL."""
    return str(path).replace("'", "''")
