"""Evidence: runs that took long or other hardware, kept as one file each so that they can be committed and are shown.

`evidence/<run>.jsonl` beside `runs/` holds every text file of a run's folder but its artifacts, a line each; a sync
brings in those that the store does not know yet. The name of the host stays at home.
"""

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.store import annotations
from workbench.store._folder import read_state
from workbench.store._format import dumps, read_lines
from workbench.store._paths import NEW, RUNS, locate
from workbench.store._unknown import known_run
from workbench.store.recorder import draft_folder

if TYPE_CHECKING:
    import polars as pl

EVIDENCE = "evidence"
_FILES = ("DONE", "claims.json", "results.jsonl")  # and all metrics*.jsonl


def keep_evidence(run_id: str, path: str | os.PathLike[str] | None = None) -> Path:
    """Write a run to `evidence/<run_id>.jsonl` of its store; returns the file, which is meant to be committed.

    Raises `UnknownRun`, and `ValueError` for a run that did not finish or whose code was not committed, because nobody
    could repeat it.
    """
    root = locate(path)
    folder = root / RUNS / known_run(root, run_id)
    state = read_state(folder)
    git = state.record.get("git") or {}
    if state.status != "finished":
        raise ValueError(f"run_id: {run_id!r} is {state.status}, evidence must be a run that finished")
    if git.get("commit") is None or git.get("dirty"):
        raise ValueError(f"run_id: {run_id!r} ran on uncommitted code, evidence must name a commit that holds it all")
    lines = [{"file": "run.json", "data": _without_host(state.record)}]
    for name in [*_FILES, *sorted(file.name for file in folder.glob("metrics*.jsonl"))]:
        if (told := folder / name).exists():
            rows = read_lines(told)[0] if name.endswith(".jsonl") else [json.loads(told.read_bytes())]
            lines += [{"file": name, "data": row} for row in rows]
    file = root / EVIDENCE / f"{run_id}.jsonl"
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file


def evidence_files(root: Path) -> list[Path]:
    """The evidence that lies beside the runs of a store, oldest first."""
    return sorted((root / EVIDENCE).glob("*.jsonl"))


def evidence(path: str | os.PathLike[str] | None = None) -> "pl.DataFrame":
    """One row a file of evidence beside the runs of a store, the newest run first; see `keep_evidence`.

    Columns: study, run_id, started (UTC), preset, commit, cpu, cores, gpus, bytes, file. Raises `ValueError` that names
    a file which does not begin with the record of a run.
    """
    import polars as pl

    types: dict[str, Any] = {"study": pl.String, "run_id": pl.String, "started": pl.Datetime("us"), "preset": pl.String}
    types |= {"commit": pl.String, "cpu": pl.String, "cores": pl.Int64, "gpus": pl.List(pl.String)}
    rows = [_evidence_row(file) for file in evidence_files(locate(path))]
    frame = pl.DataFrame(rows, schema=types | {"bytes": pl.Int64, "file": pl.String})
    return frame.sort("started", "run_id", descending=True)


def _evidence_row(file: Path) -> dict[str, Any]:
    with file.open(encoding="utf-8") as lines:
        first = lines.readline()
    try:
        record = json.loads(first)["data"]
        facts = {"study": record["study"], "run_id": record["id"], "started": datetime.fromisoformat(record["started"])}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: must begin with the record of a run, as keep_evidence writes it") from error
    machine = record.get("machine") or {}
    return {
        **facts,
        "started": facts["started"].astimezone(UTC).replace(tzinfo=None),
        "preset": record["config"].get("preset"),
        "commit": (record.get("git") or {}).get("commit"),
        **{name: machine.get(name) for name in ("cpu", "cores", "gpus")},
        "bytes": file.stat().st_size,
        "file": str(file),
    }


def bring_evidence(root: Path) -> list[str]:
    """Unpack every evidence file that is not yet a run of this store, nor was purged from it; the runs that came.

    The caller holds the store's lock.
    """
    files, came = evidence_files(root), []
    purged = {event["run_id"] for event in annotations.events(root)[0] if event["kind"] == "purge"} if files else set()
    for file in files:
        run_id = file.stem
        if run_id in purged or (root / RUNS / run_id).exists():
            continue
        rows: dict[str, list[Any]] = {}
        for line in file.read_text(encoding="utf-8").splitlines():
            told = json.loads(line)
            rows.setdefault(told["file"], []).append(told["data"])
        (record,) = rows.pop("run.json")
        shutil.rmtree(root / RUNS / f"{NEW}{run_id}", ignore_errors=True)  # of a sync that was killed
        draft = draft_folder(root, run_id, record, {})
        for name, data in rows.items():
            text = "".join(dumps(row) + "\n" for row in data) if name.endswith(".jsonl") else dumps(data[0]) + "\n"
            (draft / name).write_text(text, encoding="utf-8")
        draft.rename(root / RUNS / run_id)
        came.append(run_id)
    return came


def _without_host(record: dict[str, Any]) -> dict[str, Any]:
    """The record without what names a machine or a folder on it."""
    sessions = [session | {"host": EVIDENCE} for session in record["sessions"]]
    config = record["config"] | ({"batch_id": ""} if "batch_id" in record["config"] else {})
    command = record["command"].split(" --store ")[0].split(" --batch ")[0]
    machine = record["machine"] | {"host": EVIDENCE}
    return record | {"sessions": sessions, "config": config, "command": command, "machine": machine}
