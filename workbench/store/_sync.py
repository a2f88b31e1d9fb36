"""Extending the catalogue: copy the newest generation, bring ended runs in, swap a pointer. Nobody waits for it.

A generation never changes once CURRENT names it, so readers need no lock; whoever syncs holds `.lock`.
"""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.store import annotations
from workbench.store._evidence import bring_evidence, evidence_files
from workbench.store._folder import RunState, heartbeat, read_ending, read_state
from workbench.store._paths import (
    CURRENT,
    LOCK,
    RUNS,
    catalogue,
    current_generation,
    generations,
    locate,
    run_folders,
    segments,
)
from workbench.store._segment import content_size

if TYPE_CHECKING:
    import duckdb

KEEP = 3  # generations; a reader that attached an older one keeps its open file
WASTE = 1.5  # a file this much larger than its data is written anew
_COMPACT_ABOVE = 8 << 20  # bytes; below, the blocks of an almost empty file mislead and nothing is gained


@dataclass(frozen=True)
class SyncReport:
    """What a sync did: the generation that is current now, what came in, how long it took, or why nothing was done."""

    generation: int
    runs_added: int = 0
    rows_added: int = 0
    seconds: float = 0.0
    skipped_because: str = ""

    def __repr__(self) -> str:
        if self.skipped_because:
            return f"generation {self.generation}: {self.skipped_because}"
        return (
            f"generation {self.generation}: {self.runs_added:,} runs and {self.rows_added:,} rows of metrics came in, "
            f"{self.seconds:.2f} s"
        )


@dataclass(frozen=True)
class Known:
    """What the catalogue says of a run that may have changed since."""

    status: str
    finished: float
    segments: int
    bytes: int


@contextlib.contextmanager
def store_lock(root: Path, wait: bool = True) -> Generator[bool]:
    """Hold the store's lock; yields False, without it, when `wait` is False and somebody else holds it."""
    root.mkdir(parents=True, exist_ok=True)
    fd = os.open(root / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)  # which releases it


def sync(path: str | os.PathLike[str] | None = None, *, wait: bool = True) -> SyncReport:
    """Bring ended runs into a new generation of the catalogue; without any there is no new generation.

    One process syncs at a time: another one waits, or with `wait=False` reports that it did nothing. Runs that are
    being written are left alone. Raises `StoreVersionError` for a store of a newer workbench.
    """
    root = locate(path)
    if not run_folders(root) and not evidence_files(root):
        return SyncReport(current_generation(root), skipped_because="the store holds no runs yet")
    with store_lock(root, wait) as held:
        if not held:
            return SyncReport(current_generation(root), skipped_because="another process is syncing")
        bring_evidence(root)
        return _sync_locked(root)


def rebuild(path: str | os.PathLike[str] | None = None) -> SyncReport:
    """Make the catalogue anew from the run folders alone: the same tables that the syncs have made."""
    root = locate(path)
    with store_lock(root):
        bring_evidence(root)
        return rebuild_locked(root)


def rebuild_locked(root: Path) -> SyncReport:
    """`rebuild` by who holds the lock."""
    return _build(root, None, [state for state in states(root, run_folders(root)) if state.ended])


def _sync_locked(root: Path) -> SyncReport:
    from workbench.store._catalogue import connect, migrations, schema_version
    from workbench.store._ingest import quoted

    generation = current_generation(root)
    source = catalogue(root, generation)
    known: dict[str, Known] = {}
    if source.exists():
        with connect() as con:
            con.execute(f"ATTACH '{quoted(source)}' AS cat (READ_ONLY)")
            outdated = schema_version(con, "cat") < max(migrations())
            known = known_runs(con)
        if outdated:  # a cache of other tables: what it held comes from the runs again
            return rebuild_locked(root)
    pending = [state for state in states(root, fresh_ids(root, known)) if state.ended]
    if not pending:
        return SyncReport(generation, skipped_because=f"no run has ended {'since' if source.exists() else 'yet'}")
    return _build(root, source if source.exists() else None, pending)


def known_runs(con: "duckdb.DuckDBPyConnection") -> dict[str, Known]:
    """What the attached catalogue `cat` holds, by run id."""
    rows = con.execute("SELECT run_id, status, coalesce(epoch(finished), 0), segments, bytes FROM cat.runs").fetchall()
    return {run_id: Known(*facts) for run_id, *facts in rows}


def fresh_ids(root: Path, known: dict[str, Known]) -> list[str]:
    """The run folders that a catalogue lacks, or knows in an older state: resumed runs, and crashed ones that live.

    Only those two kinds can change after they were ingested, so no other folder is looked at.
    """
    told, _ = annotations.events(root)
    resumed = {event["run_id"] for event in told if event["kind"] == "resume"}
    fresh = []
    for run_id in run_folders(root):
        facts = known.get(run_id)
        if facts is None:
            fresh.append(run_id)
        elif run_id in resumed or facts.status == "crashed":
            files = segments(root / RUNS / run_id)
            same = len(files) == facts.segments and sum(map(content_size, files)) == facts.bytes
            if not same or (facts.status == "crashed" and _came_back(root / RUNS / run_id, facts)):
                fresh.append(run_id)
    return fresh


def _came_back(folder: Path, facts: Known) -> bool:
    return read_ending(folder) is not None or heartbeat(folder) > facts.finished + 1


def states(root: Path, run_ids: list[str]) -> list[RunState]:
    """The states of run folders; one without a record, which is being removed, is left out (`check` names it)."""
    found = []
    for run_id in run_ids:
        with contextlib.suppress(FileNotFoundError):
            found.append(read_state(root / RUNS / run_id))
    return found


def _build(root: Path, source: Path | None, pending: list[RunState]) -> SyncReport:
    """Make the next generation from `source` (None: from nothing) and the pending runs; make it current."""
    from workbench.store._ingest import compact, extend, waste

    began = time.perf_counter()
    generation = max([current_generation(root), *generations(root)]) + 1
    target, draft = catalogue(root, generation), root / f".draft-{generation:06d}.duckdb"
    for leftover in root.glob(".draft-*"):  # of a sync that was killed; we hold the lock
        leftover.unlink()
    if source is not None:
        shutil.copyfile(source, draft)
    rows = extend(draft, pending)
    if draft.stat().st_size > _COMPACT_ABOVE and waste(draft) > WASTE:
        smaller = root / f".draft-{generation:06d}-compact.duckdb"
        compact(draft, smaller)
        smaller.replace(draft)
    draft.rename(target)
    pointer = root / f"{CURRENT}.tmp"
    pointer.write_text(f"{generation}\n")
    pointer.replace(root / CURRENT)
    for old in generations(root)[:-KEEP]:
        catalogue(root, old).unlink()
    return SyncReport(generation, len(pending), rows, time.perf_counter() - began)
