"""One imported run: from plain facts to a run folder that looks like any other, with its origin recorded."""

import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.store._folder import RUN_SCHEMA, fingerprint, utc
from workbench.store._format import RESERVED, float_text, metric_name, write_bytes, write_json
from workbench.store._paths import NEW, RUNS, new_run_id
from workbench.store.recorder import draft_folder

Point = tuple[str, int, float, float]  # name, step, time (s since 1970), value


@dataclass(frozen=True)
class SourceRun:
    """A run as another tracker kept it. `origin` names it for ever: the same origin is the same run."""

    origin: str
    study: str
    started: float
    finished: float
    status: str
    points: list[Point]
    config: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    note: str = ""
    command: str = ""
    git_commit: str | None = None
    artifacts: Path | None = None


def write_runs(root: Path, runs: Iterable[SourceRun]) -> list[str]:
    """Write each run that the store lacks, and return their ids.

    Raises dataframely's `ValidationError` when the metrics of one are malformed.
    """
    added = []
    for run in runs:
        run_id = new_run_id(_slug(run.study), run.started, fingerprint(run.origin))
        if not (root / RUNS / run_id).exists():
            _write(root, run_id, run)
            added.append(run_id)
    return added


def _slug(study: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", study).strip("-._")[:80] or "imported"


def _write(root: Path, run_id: str, run: SourceRun) -> None:
    import polars as pl

    from workbench.store._schemas import ImportedMetrics

    rows = [(f"{name} (metric)" if name in RESERVED else name, *rest) for name, *rest in run.points]
    types = pl.Schema({"name": pl.String(), "step": pl.Int64(), "time": pl.Float64(), "value": pl.Float64()})
    checked = ImportedMetrics.validate(pl.DataFrame(rows, schema=types, orient="row"))
    lines = [
        f'{{"s":{step},"t":{round(time * 1e6)},"m":{{{metric_name(name)}{float_text(value)}}}}}\n'
        for name, step, time, value in checked.iter_rows()
    ]
    record = {
        "schema_version": RUN_SCHEMA,
        "id": run_id,
        "study": _slug(run.study),
        "config": run.config,
        "seed": None,
        "started": utc(run.started),
        "command": run.command,
        "tags": list(run.tags),
        "note": run.note,
        "git": {"commit": run.git_commit, "dirty": None} if run.git_commit else None,
        "origin": run.origin,
        "sessions": [{"started": utc(run.started), "host": "", "pid": None, "git": None}],
    }
    ending = {"status": run.status, "finished": utc(run.finished), "wall_s": max(0.0, run.finished - run.started)}
    shutil.rmtree(root / RUNS / f"{NEW}{run_id}", ignore_errors=True)  # of an import that was cut short
    draft = draft_folder(root, run_id, record, {})
    write_bytes(draft / "metrics.jsonl", "".join(lines).encode())
    if run.artifacts is not None and run.artifacts.is_dir():
        shutil.copytree(run.artifacts, draft / "artifacts")
    write_json(draft / ("DONE" if run.status == "finished" else "FAILED"), ending)
    draft.rename(root / RUNS / run_id)
