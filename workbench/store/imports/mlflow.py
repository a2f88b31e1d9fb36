"""MLflow's two stores, read with the standard library: a folder `mlruns/`, and an SQLite file `mlflow.db`."""

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.store._paths import locate
from workbench.store.imports._common import Point, SourceRun, write_runs

if TYPE_CHECKING:
    import sqlite3

_STATUS = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "interrupted"}
_STATUS_NUMBER = {"3": "FINISHED", "4": "FAILED", "5": "KILLED"}  # the file store writes the enum's number
_LARGEST = 1.7976931348623157e308  # what MLflow's SQL store keeps instead of infinity


def import_mlflow(source: str | os.PathLike[str], path: str | os.PathLike[str] | None = None) -> list[str]:
    """Import the runs of an `mlruns/` folder or of an SQLite file, deleted ones left out; returns the new run ids.

    Parameters become the config, `mlflow.note.content` the note, other tags `name=value` tags (MLflow's own left out);
    artifacts are copied where they lie in the folder. A run that was still running there counts as interrupted.
    Importing again adds only runs that are new. A metric called step or time becomes "step (metric)".
    Raises `FileNotFoundError`, and `ValueError` for anything that is neither.
    """
    where = Path(source).expanduser()
    if not where.exists():
        raise FileNotFoundError(f"source: {where} does not exist")
    if where.is_file():
        with where.open("rb") as file:
            if file.read(15) != b"SQLite format 3":
                raise ValueError(f"source: {where} must be an SQLite file of MLflow or an mlruns folder")
        runs = _from_sqlite(where)
    else:
        runs = _from_folder(where)
    return write_runs(locate(path), runs)


def _source_run(
    run_id: str,
    experiment: str,
    status: str,
    times: tuple[float | None, float | None],
    params: Mapping[str, str],
    tags: Mapping[str, str],
    points: list[Point],
    artifacts: Path | None,
) -> SourceRun:
    start, end = times
    first = min((time for _, _, time, _ in points), default=0.0)
    last = max((time for _, _, time, _ in points), default=0.0)
    started = start / 1000 if start else first
    name = tags.get("mlflow.runName", "")
    own = tuple(f"{key}={value}"[:100] for key, value in tags.items() if not key.startswith("mlflow."))
    return SourceRun(
        origin=f"mlflow:{run_id}",
        study=experiment,
        started=started,
        finished=end / 1000 if end else max(last, started),
        status=_STATUS.get(status, "interrupted"),
        points=points,
        config=dict(params),
        tags=("mlflow", *([name[:100]] if name else []), *own),
        note=tags.get("mlflow.note.content", ""),
        command=tags.get("mlflow.source.name", ""),
        git_commit=tags.get("mlflow.source.git.commit"),
        artifacts=artifacts,
    )


def _from_sqlite(file: Path) -> Iterator[SourceRun]:
    import sqlite3

    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as con:
        tables = {row[0] for row in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        missing = {"runs", "experiments", "metrics", "params", "tags"} - tables
        if missing:
            raise ValueError(f"source: {file} is an SQLite file, but not of MLflow: it lacks {sorted(missing)}")
        names = dict(con.execute("SELECT experiment_id, name FROM experiments"))
        query = "SELECT run_uuid, experiment_id, status, start_time, end_time, lifecycle_stage FROM runs"
        for run_id, experiment, status, start, end, stage in con.execute(query).fetchall():
            if stage == "deleted":
                continue
            params = dict(con.execute("SELECT key, value FROM params WHERE run_uuid = ? ORDER BY key", [run_id]))
            tags = dict(con.execute("SELECT key, value FROM tags WHERE run_uuid = ? ORDER BY key", [run_id]))
            points = _sqlite_points(con, run_id)
            yield _source_run(run_id, names.get(experiment, "mlflow"), status, (start, end), params, tags, points, None)


def _sqlite_points(con: "sqlite3.Connection", run_id: str) -> list[Point]:
    query = "SELECT key, step, timestamp, value, is_nan FROM metrics WHERE run_uuid = ? ORDER BY timestamp, step"
    return [
        (name, step, at / 1000, float("nan") if nan else _infinite(value))
        for name, step, at, value, nan in con.execute(query, [run_id])
    ]


def _infinite(value: float) -> float:
    return float("inf") if value >= _LARGEST else float("-inf") if value <= -_LARGEST else float(value)


def _from_folder(folder: Path) -> Iterator[SourceRun]:
    experiments = sorted(meta.parent for meta in folder.glob("*/meta.yaml") if meta.parent.name != "models")
    if not experiments:
        raise ValueError(f"source: {folder} must be an mlruns folder, with <experiment>/meta.yaml inside")
    for experiment in experiments:
        name = _flat_yaml(experiment / "meta.yaml").get("name", experiment.name)
        for meta_file in sorted(experiment.glob("*/meta.yaml")):
            run, meta = meta_file.parent, _flat_yaml(meta_file)
            if meta.get("lifecycle_stage") == "deleted" or "run_id" not in meta:
                continue
            status = _STATUS_NUMBER.get(meta.get("status", ""), meta.get("status", ""))
            yield _source_run(
                meta["run_id"],
                name,
                status,
                (_milliseconds(meta.get("start_time")), _milliseconds(meta.get("end_time"))),
                _values(run / "params"),
                _values(run / "tags"),
                _folder_points(run / "metrics"),
                run / "artifacts",
            )


def _folder_points(folder: Path) -> list[Point]:
    """Files named like their metric (which may hold slashes), with lines `timestamp value step`."""
    points: list[Point] = []
    for file in _files(folder):
        name = file.relative_to(folder).as_posix()
        for line in file.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if len(words) >= 2:
                points.append((name, int(words[2]) if len(words) > 2 else 0, int(words[0]) / 1000, float(words[1])))
    return sorted(points, key=lambda point: (point[2], point[1]))


def _values(folder: Path) -> dict[str, str]:
    return {file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8") for file in _files(folder)}


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else []


def _flat_yaml(file: Path) -> dict[str, str]:
    """The `key: value` lines of MLflow's meta.yaml, which has no nesting that matters here."""
    facts: dict[str, Any] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        key, colon, value = line.partition(":")
        if colon and key and not key[0].isspace():
            facts[key] = value.strip().strip("'\"")
    return facts


def _milliseconds(text: str | None) -> float | None:
    return float(text) if text and text.lower() not in ("null", "none", "~") else None
