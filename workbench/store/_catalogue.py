"""The DuckDB side: connecting, migrating, and loading rows and metrics into tables. Imported only by who needs it."""

import glob
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from workbench.store._folder import (
    RunState,
    StoreVersionError,
    claim_rows,
    machine_row,
    result_rows,
    run_row,
    utc,
)
from workbench.store._format import dumps
from workbench.store._paths import sql_folder

FACTS = ("runs", "results", "papers", "claims", "machines")

_FILES_AT_ONCE = 1024
# The key is looked up, not joined: a join may put its rows in another order, and order says which value is the last.
_METRICS = """
INSERT INTO {target}
SELECT ($3::BIGINT[])[list_position($2::VARCHAR[], line.filename)],
    unnest(map_keys(line.m)), line.s, line.t / 1e6, unnest(map_values(line.m))
FROM read_json($1, format = 'newline_delimited', ignore_errors = true, filename = true,
    columns = {{s: 'BIGINT', t: 'BIGINT', m: 'MAP(VARCHAR, DOUBLE)'}}) line
WHERE line.s IS NOT NULL
"""
# Of two rows with the same step the later one is the last; rowid is the order of logging. Not arg_max of the pair: it
# gives 0 for -0.
_SUMMARY = """
INSERT INTO {target}
SELECT run_key, name, count(*) AS n, max(step) AS last_step, last(value ORDER BY step, rowid) AS last,
    min(value) FILTER (isfinite(value)) AS lo, max(value) FILTER (isfinite(value)) AS hi
FROM {source} WHERE run_key IN (SELECT unnest($1::BIGINT[])) GROUP BY run_key, name
"""


def connect(path: Path | str = ":memory:") -> duckdb.DuckDBPyConnection:
    """A quiet connection that never reaches for the network."""
    connection = duckdb.connect(str(path), config={"autoinstall_known_extensions": "false"})
    # Only where it is on: in Jupyter without ipywidgets it is off, and even asking for "off" is refused there.
    if connection.execute("SELECT current_setting('enable_progress_bar')").fetchall()[0][0]:
        connection.execute("SET enable_progress_bar = false")
    return connection


def migrations() -> dict[int, Path]:
    """The numbered SQL files that make the tables, oldest first."""
    found = {int(m[1]): path for path in sql_folder().glob("*.sql") if (m := re.match(r"(\d{4})_", path.name))}
    return dict(sorted(found.items()))


def schema_version(con: duckdb.DuckDBPyConnection, database: str) -> int:
    """The version of the tables in an attached database; 0 when it is empty. Raises `StoreVersionError` if newer."""
    made = con.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE database_name = $1 AND table_name = 'schema_version'", [database]
    ).fetchall()[0][0]
    version = con.execute(f'SELECT max(version) FROM "{database}".schema_version').fetchall()[0][0] if made else 0
    known = max(migrations())
    if version > known:
        raise StoreVersionError(
            f"the catalogue has schema_version {version}, this workbench knows up to {known}; "
            "install a newer parallel-workbench, or `workbench store rebuild` with this one"
        )
    return version


def migrate(con: duckdb.DuckDBPyConnection, database: str) -> None:
    """Bring the tables of an attached database, which becomes the current one, to the newest version."""
    version = schema_version(con, database)
    con.execute(f'USE "{database}"')
    con.execute(
        "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, name VARCHAR, applied TIMESTAMP)"
    )
    for number, path in migrations().items():
        if number > version:
            con.execute(path.read_text(encoding="utf-8"))
            con.execute("INSERT INTO schema_version VALUES ($1, $2, $3::TIMESTAMP)", [number, path.stem, utc()])


def load_rows(con: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert mappings into a table by column name; what a mapping lacks is NULL, and JSON columns take anything."""
    if not rows:
        return
    columns = {name: kind for name, kind, *_ in con.execute(f"DESCRIBE {table}").fetchall()}
    named = "{" + ", ".join(f"\"{name}\": '{kind}'" for name, kind in columns.items()) + "}"
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(dumps(row) + "\n" for row in rows)
        file.flush()
        con.execute(
            f"INSERT INTO {table} BY NAME SELECT * FROM read_json($1, format = 'newline_delimited', columns = {named}, "
            "maximum_object_size = 268435456)",
            [file.name],
        )


def load_metrics(con: duckdb.DuckDBPyConnection, target: str, files: Iterable[tuple[Path, int]]) -> None:
    """Insert files of metrics lines, in their order, under the run keys beside them; torn lines are left out."""
    named = [(str(path), key) for path, key in files if path.stat().st_size]
    for at in range(0, len(named), _FILES_AT_ONCE):
        names, keys = map(list, zip(*named[at : at + _FILES_AT_ONCE], strict=True))
        con.execute(_METRICS.format(target=target), [[glob.escape(name) for name in names], names, keys])


def summarise(con: duckdb.DuckDBPyConnection, prefix: str, keys: Sequence[int]) -> None:
    """Fill `<prefix>summary` from `<prefix>metrics` for some run keys, in place of what it held of them."""
    con.execute(f"DELETE FROM {prefix}summary WHERE run_key IN (SELECT unnest($1::BIGINT[]))", [keys])
    con.execute(_SUMMARY.format(target=f"{prefix}summary", source=f"{prefix}metrics"), [keys])


def count_rows(con: duckdb.DuckDBPyConnection, runs: str, summary: str) -> None:
    """Set n_rows of the table `runs` from the table `summary`."""
    counted = f"SELECT sum(n)::BIGINT FROM {summary} s WHERE s.run_key = {runs}.run_key"
    con.execute(f"UPDATE {runs} SET n_rows = coalesce(({counted}), 0)")


def load_facts(con: duckdb.DuckDBPyConnection, states: Sequence[RunState], prefix: str) -> None:
    """Insert everything but the metrics of some runs into the tables `<prefix>runs`, `<prefix>results` and so on."""
    load_rows(con, f"{prefix}runs", [run_row(state) for state in states])
    load_rows(con, f"{prefix}results", [row for state in states for row in result_rows(state)])
    told = [claim_rows(state) for state in states]
    papers = newest([paper for paper, _ in told if paper], "paper_id")
    kept = {(paper["paper_id"], paper["run_key"]) for paper in papers}
    claims = [row for _, rows in told for row in rows if (row["paper_id"], row["run_key"]) in kept]
    machines = newest([row for row in map(machine_row, states) if row], "machine_id")
    load_rows(con, f"{prefix}papers", papers)
    load_rows(con, f"{prefix}claims", claims)
    load_rows(con, f"{prefix}machines", machines)


def newest(rows: Iterable[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Of the rows with the same `name`, the one of the newest run."""
    kept: dict[Any, tuple[Any, dict[str, Any]]] = {}
    for row in rows:
        seen = (datetime.fromisoformat(row["seen"]), row["run_key"])
        if row[name] not in kept or seen > kept[row[name]][0]:
            kept[row[name]] = (seen, row)
    return [row for _, row in kept.values()]
