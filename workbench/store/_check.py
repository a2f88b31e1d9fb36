"""How the store is: what the catalogue lacks, what crashed, what was torn, what lies around."""

import os
from dataclasses import dataclass
from pathlib import Path

from workbench.store import annotations
from workbench.store._folder import RunState
from workbench.store._format import read_lines
from workbench.store._paths import (
    ANNOTATIONS,
    CURRENT,
    LOCK,
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
class CheckReport:
    """The state of a store. `torn` names lines that a killed writer left, `orphans` what belongs to no run."""

    path: Path
    generation: int
    schema_version: int
    runs: int
    live: tuple[str, ...]
    crashed: tuple[str, ...]
    torn: tuple[str, ...]
    missing: tuple[str, ...]
    orphans: tuple[str, ...]
    deleted: tuple[str, ...]
    runs_bytes: int
    catalogue_bytes: int

    @property
    def ok(self) -> bool:
        """Whether nothing is torn, missing or lying around; crashed and waiting runs are no fault of the store."""
        return not (self.torn or self.missing or self.orphans)

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
        lines.append("well" if self.ok else "not well: see above; `workbench store rebuild` makes the catalogue anew")
        return "\n".join(lines)


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
        crashed=tuple(state.run_id for state in found if state.status == "crashed"),
        torn=tuple(torn for state in found if state.ended for torn in _torn(state)) + _torn_events(root),
        missing=tuple(missing),
        orphans=_orphans(root, {state.run_id for state in found}),
        deleted=tuple(k for k, row in annotations.fold(root).items() if row["deleted"] and k in folders),
        runs_bytes=sum(_size(root / RUNS / name) for name in folders),
        catalogue_bytes=sum(catalogue(root, number).stat().st_size for number in generations(root)),
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
    return sum(os.stat(os.path.join(at, name)).st_size for at, _, names in os.walk(folder) for name in names)  # noqa: PTH116, PTH118
