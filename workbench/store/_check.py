"""How the store is: what the catalogue lacks, what crashed, what was torn, what lies around."""

import os
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from workbench.store import annotations
from workbench.store._folder import RunState
from workbench.store._format import read_lines
from workbench.store._paths import (
    ANNOTATIONS,
    CURRENT,
    LOCK,
    PURGED,
    RUNS,
    catalogue,
    current_generation,
    generations,
    is_run_id,
    locate,
    names,
    run_folders,
    segments,
)
from workbench.store._segment import content_size
from workbench.store._sync import fresh_ids, known_runs, states
from workbench.store.unfinished import UNFINISHED


@dataclass(frozen=True)
class Finding:
    """One thing that a check has found: what it is, the names of what is so, and the command that mends it.

    `command` is empty where there is nothing to mend, or where only a person can tell; `fault` says whether the store
    is unsound for it.
    """

    what: str
    names: tuple[str, ...]
    command: str = ""
    fault: bool = False


@dataclass(frozen=True)
class CheckReport:
    """The state of a store. `torn` names lines that a killed writer left, `orphans` what belongs to no run.

    `live` names the runs that the catalogue lacks, those of `running` among them; `synced` is when its generation was
    made, and None when there is none.
    """

    path: Path
    generation: int
    schema_version: int
    runs: int
    live: tuple[str, ...]
    running: tuple[str, ...]
    crashed: tuple[str, ...]
    torn: tuple[str, ...]
    missing: tuple[str, ...]
    orphans: tuple[str, ...]
    deleted: tuple[str, ...]
    runs_bytes: int
    catalogue_bytes: int
    synced: datetime | None

    @property
    def ok(self) -> bool:
        """Whether nothing is torn, missing or lying around; crashed and waiting runs are no fault of the store."""
        return not (self.torn or self.missing or self.orphans)

    @property
    def findings(self) -> list[Finding]:
        """What was found, faults first, each with the command that mends it."""
        at = "" if self.path == locate() else f" --store {shlex.quote(str(self.path))}"
        sync, rebuild, purge = f"workbench store sync{at}", f"workbench store rebuild{at}", _purge(self.path, at)
        waiting = tuple(run_id for run_id in self.live if run_id not in self.running)
        purged, drafts, loose = _sorted_orphans(self.orphans)
        found = [
            Finding("named by the catalogue, but not there", self.missing, rebuild, fault=True),
            Finding("left by a purge that was cut short", purged, purge, fault=True),
            Finding("left by a sync that was cut short", drafts, rebuild, fault=True),
            Finding("no run and no part of the store: look at it, and remove it by hand", loose, fault=True),
            Finding("holds a line that a killed writer did not finish: readers leave it out", self.torn, fault=True),
            Finding("ended, and not in the catalogue yet; shown all the same", waiting, sync),
            Finding("deleted: hidden, and still on the disk; this removes them for good", self.deleted, purge),
            Finding("crashed: the process died, and what it had logged is kept", self.crashed),
            Finding("running", self.running),
        ]
        return [finding for finding in found if finding.names]

    def __repr__(self) -> str:
        lines = [
            f"store       {self.path}",
            f"catalogue   generation {self.generation}, schema {self.schema_version}, "
            f"{self.catalogue_bytes / 1e6:.1f} MB",
            f"runs        {self.runs} in {self.runs_bytes / 1e6:.1f} MB; {len(self.live)} not in the catalogue yet",
        ]
        for name in ("live", "crashed", "deleted", "torn", "missing", "orphans"):
            found = getattr(self, name)
            if found:
                more = f" and {len(found) - 5} more" if len(found) > 5 else ""
                lines.append(f"{name:<11} {len(found)}: {', '.join(found[:5])}{more}")
        lines.append("well" if self.ok else "not well: see above")
        lines += [f"{'mend':<11} {one}" for one in dict.fromkeys(f.command for f in self.findings if f.command)]
        return "\n".join(lines)


def _purge(root: Path, at: str) -> str:
    """What the shell is told for a purge, which has no command of its own because nothing undoes it."""
    where = f"WORKBENCH_STORE={shlex.quote(str(root))} " if at else ""
    return f'{where}python -c "from workbench import store; print(store.purge())"'


def _sorted_orphans(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Orphans by what made them: a purge, a sync, and anything else."""
    purged = tuple(name for name in names if name.startswith(f"{RUNS}/{PURGED}"))
    drafts = tuple(name for name in names if name.startswith((".draft-", f"{CURRENT}.")))
    return purged, drafts, tuple(name for name in names if name not in (*purged, *drafts))


def check(path: str | os.PathLike[str] | None = None) -> CheckReport:
    """Look at everything and change nothing. Raises `StoreVersionError` for a store of a newer workbench."""
    from workbench.store._catalogue import connect, schema_version
    from workbench.store._ingest import quoted

    root = locate(path)
    generation, version, known = current_generation(root), 0, {}
    if catalogue(root, generation).exists():
        with connect() as con:
            con.execute(f"ATTACH '{quoted(catalogue(root, generation))}' AS cat (READ_ONLY)")
            version = schema_version(con, "cat")
            known = known_runs(con)
    folders = run_folders(root)
    found = states(root, folders)
    missing = sorted(known.keys() - set(folders))
    if generation and not catalogue(root, generation).exists():
        missing.append(f"{catalogue(root, generation).name} (named by {CURRENT})")
    return CheckReport(
        path=root,
        generation=generation,
        schema_version=version,
        runs=len(found),
        live=tuple(fresh_ids(root, known)),
        running=tuple(state.run_id for state in found if not state.ended),
        crashed=tuple(state.run_id for state in found if state.status == "crashed"),
        torn=tuple(torn for state in found if state.ended for torn in _torn(state)) + _torn_events(root),
        missing=tuple(missing),
        orphans=_orphans(root, {state.run_id for state in found}),
        deleted=tuple(k for k, row in annotations.fold(root).items() if row["deleted"] and k in folders),
        runs_bytes=sum(_size(root / RUNS / name) for name in folders),
        catalogue_bytes=sum(_bytes(catalogue(root, number)) for number in generations(root)),
        synced=datetime.fromtimestamp((root / CURRENT).stat().st_mtime, UTC) if generation else None,
    )


def _torn(state: RunState) -> list[str]:
    """The files of a run that end inside a line, and the results that cannot be read."""
    torn = []
    for path in segments(state.folder):
        size = content_size(path)
        with path.open("rb") as lines:
            if size and os.pread(lines.fileno(), 1, size - 1) != b"\n":
                torn.append(f"{state.run_id}/{path.name}")
    _, unread = read_lines(state.folder / "results.jsonl")
    return torn + [f"{state.run_id}/results.jsonl ({unread})"] * bool(unread)


def _torn_events(root: Path) -> tuple[str, ...]:
    _, unread = annotations.events(root)
    return (f"{ANNOTATIONS} ({unread})",) if unread else ()


def _orphans(root: Path, runs: set[str]) -> tuple[str, ...]:
    """What nobody reads: drafts of runs and catalogues, folders without a record, old generations, foreign files."""
    if not root.is_dir():
        return ()
    kept = {catalogue(root, number).name for number in generations(root)} | {RUNS, CURRENT, LOCK, ANNOTATIONS}
    kept |= {UNFINISHED, "sql", "README.md", "evidence", ".gitignore"}  # what a checkout keeps beside the runs
    loose = [name for name in names(root) if name not in kept]
    loose += [f"{RUNS}/{name}" for name in names(root / RUNS) if not is_run_id(name) or name not in runs]
    return tuple(sorted(loose))


def _size(folder: Path) -> int:
    return sum(_bytes(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)  # noqa: PTH118


def _bytes(file: str | Path) -> int:
    try:
        return os.stat(file).st_size  # noqa: PTH116
    except FileNotFoundError:  # a sync or a purge took it away meanwhile
        return 0
