"""The tables as files that outlive DuckDB's storage format: one Parquet or CSV file a table, and a manifest."""

import hashlib
import os
from pathlib import Path

from workbench.store._folder import utc
from workbench.store._format import write_json
from workbench.store.reader import open_log

EXPORTED = ("runs", "metrics", "summary", "machines", "papers", "claims", "results", "annotations")


def export(path: str | os.PathLike[str] | None, out: str | os.PathLike[str], format: str = "parquet") -> list[Path]:
    """Write what a reader sees, live runs included, deleted ones not, to the folder `out`; returns the files.

    The manifest (`manifest.json`) names each file with its rows and its SHA-256, the generation and the schema version.
    Raises `ValueError` for another format than "parquet" or "csv".
    """
    if format not in ("parquet", "csv"):
        raise ValueError(f"format: {format!r} must be 'parquet' or 'csv'")
    from workbench.store._catalogue import migrations
    from workbench.store._ingest import quoted

    target = Path(out)
    target.mkdir(parents=True, exist_ok=True)
    options = "FORMAT parquet, COMPRESSION zstd" if format == "parquet" else "FORMAT csv, HEADER true"
    tables: dict[str, dict] = {}
    with open_log(path) as log:
        for table in EXPORTED:
            file = target / f"{table}.{format}"
            rows = log._con.execute(f"COPY (FROM {table}) TO '{quoted(file)}' ({options})").fetchall()[0][0]
            tables[table] = {"file": file.name, "rows": rows, "sha256": _digest(file)}
        manifest = {
            "format": format,
            "exported": utc(),
            "generation": log.generation,
            "schema_version": max(migrations()),
            "tables": tables,
        }
    write_json(target / "manifest.json", manifest)
    return [target / "manifest.json", *(target / table["file"] for table in tables.values())]


def _digest(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()
