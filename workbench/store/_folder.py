"""One run's folder, read: its record, how it stands, and the rows that it gives to the catalogue."""

import hashlib
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.store import _facts
from workbench.store._format import dumps, read_lines
from workbench.store._paths import run_key, segments
from workbench.store._segment import content_size

RUN_SCHEMA = 1  # the version of run.json and of the files beside it
# a heartbeat this old speaks for a crash, here and on another host
STALE_S: float = 60.0
STALE_ELSEWHERE_S: float = 600.0

PAPER_COLUMNS = ("title", "authors", "year", "link", "bibtex", "topic", "summary")
CLAIM_COLUMNS = (
    *("claim_id", "paper_id", "statement", "kind", "source", "quantity", "unit", "published_text", "published"),
    *("published_lo", "published_hi", "evidence", "verified", "tol_rel", "tol_abs", "tol_reason", "scope"),
)
RESULT_COLUMNS = (
    *("claim_id", "paper_id", "created_at", "measured", "measured_lo", "measured_hi", "n_seeds", "modelled"),
    *("modelled_lo", "modelled_hi", "published", "ratio", "rel_err", "within_tol", "negative_control_failed"),
    *("verdict", "verdict_reason", "evidence", "seconds", "preset", "conditions_here", "claim_hash", "control"),
    "outcome",
)


class StoreVersionError(RuntimeError):
    """The store was written by a newer workbench than this one."""


@dataclass(frozen=True)
class RunState:
    """A run folder at one moment: its record (run.json), its status and, when it has ended, how."""

    folder: Path
    record: dict[str, Any]
    status: str
    ending: dict[str, Any]
    segments: int
    bytes: int

    @property
    def run_id(self) -> str:
        """The name of the folder."""
        return self.folder.name

    @property
    def ended(self) -> bool:
        """Whether nobody writes here any more, as far as can be seen."""
        return self.status != "running"


def read_record(folder: Path) -> dict[str, Any]:
    """run.json. Raises `StoreVersionError` when a newer workbench wrote it."""
    record = json.loads((folder / "run.json").read_bytes())
    if record["schema_version"] > RUN_SCHEMA:
        raise StoreVersionError(
            f"run {folder.name}: schema_version is {record['schema_version']}, this workbench reads up to "
            f"{RUN_SCHEMA}; install a newer parallel-workbench"
        )
    return record


def read_state(folder: Path, now: float | None = None) -> RunState:
    """The run in `folder` as it stands at the time `now` (seconds since 1970; the present by default)."""
    record = read_record(folder)
    files = segments(folder)  # sizes before content: a file that grows meanwhile is seen as changed next time
    size = sum(content_size(file) for file in files)
    ending, beat = read_ending(folder), heartbeat(folder)
    if ending is None and _crashed(record["sessions"][-1], (time.time() if now is None else now) - beat):
        # asked again: the run may have ended, and its process gone, since the first look
        dead: dict[str, Any] = {"status": "crashed", "finished": utc(beat), "wall_s": beat - seconds(record["started"])}
        ending = read_ending(folder) or dead
    status = "running" if ending is None else ending.get("status", "finished")
    return RunState(folder, record, status, ending or {}, len(files), size)


def read_ending(folder: Path) -> dict[str, Any] | None:
    """DONE or FAILED; None while there is neither."""
    for name in ("DONE", "FAILED"):
        try:
            return json.loads((folder / name).read_bytes())
        except FileNotFoundError:
            continue
    return None


def heartbeat(folder: Path) -> float:
    """When the writer last said that it lives, in seconds since 1970."""
    return (folder / "HEARTBEAT").stat().st_mtime


def _crashed(session: dict[str, Any], silence_s: float) -> bool:
    if session["host"] == _facts.host():
        return silence_s > STALE_S and not _facts.process_lives(session)
    return silence_s > STALE_ELSEWHERE_S


def utc(at: float | None = None) -> str:
    """A time as ISO text in UTC, to the microsecond; the present by default."""
    return datetime.fromtimestamp(time.time() if at is None else at, UTC).isoformat(timespec="microseconds")


def seconds(text: str) -> float:
    """The inverse of `utc`."""
    return datetime.fromisoformat(text).timestamp()


def run_row(state: RunState) -> dict[str, Any]:
    """The run as a row of the table `runs`, without n_rows, which the metrics tell."""
    record, ending = state.record, state.ending
    git, machine = record.get("git") or {}, record.get("machine") or {}
    return {
        "run_key": run_key(state.run_id),
        "run_id": state.run_id,
        "study": record["study"],
        "status": state.status,
        "started": record["started"],
        "git_commit": git.get("commit"),
        "git_dirty": git.get("dirty"),
        "machine_id": machine.get("machine_id"),
        "host": machine.get("host"),
        "load_avg": machine.get("load_avg"),
        **{name: record.get(name) for name in ("seed", "command", "python", "config", "tags", "note", "origin")},
        **{name: ending.get(name) for name in ("finished", "wall_s", "cpu_s", "peak_memory_bytes")},
        "error": (ending.get("traceback") or "").strip().rpartition("\n")[2] or None,
        "segments": state.segments,
        "bytes": state.bytes,
    }


def machine_row(state: RunState) -> dict[str, Any] | None:
    """The machine of a run as a row of `machines`; None for a run that was imported without one."""
    machine = state.record.get("machine") or {}
    if "machine_id" not in machine:
        return None
    return {name: value for name, value in machine.items() if name != "load_avg"} | _seen(state)


def claim_rows(state: RunState) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The paper and its claims as the run saw them; (None, []) when the run tested no paper."""
    try:
        told = json.loads((state.folder / "claims.json").read_bytes())
    except FileNotFoundError:
        return None, []
    seen, paper = _seen(state), told["paper"]
    extra = {name: value for name, value in paper.items() if name not in (*PAPER_COLUMNS, "paper_id")}
    row = {name: paper.get(name) for name in ("paper_id", *PAPER_COLUMNS)} | {"extra": extra} | seen
    return row, [_claim_row(claim) | seen for claim in told["claims"]]


def _seen(state: RunState) -> dict[str, Any]:
    """Which run saw a paper or a machine, and when it began: the newest one's word stands."""
    return {"run_key": run_key(state.run_id), "seen": state.record["started"]}


def _claim_row(claim: dict[str, Any]) -> dict[str, Any]:
    everything = claim.get("row", {name: value for name, value in claim.items() if name != "claim_hash"})
    text = json.dumps(everything, sort_keys=True)
    return {name: claim.get(name) for name in CLAIM_COLUMNS} | {
        "row": everything,
        "claim_hash": claim.get("claim_hash") or hashlib.sha256(text.encode()).hexdigest()[:16],
    }


def result_rows(state: RunState) -> list[dict[str, Any]]:
    """The results of a run as rows of `results`, numbered in the order in which they were told."""
    rows, _ = read_lines(state.folder / "results.jsonl")
    named = {"run_id": state.run_id, "run_key": run_key(state.run_id)}
    return [
        {name: row.get(name) for name in RESULT_COLUMNS} | named | {"result_id": f"{state.run_id}:{number}"}
        for number, row in enumerate(rows, 1)
    ]


def fingerprint(value: Any) -> str:
    """Six hexadecimal digits that name a value: imported runs are recognised by them."""
    return hashlib.sha256(dumps(value).encode()).hexdigest()[:6]
