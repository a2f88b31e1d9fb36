"""Beginning a run, and going on with one that has ended."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

from workbench.store import _facts, annotations
from workbench.store._folder import RUN_SCHEMA, heartbeat, read_ending, read_record, read_state, seconds, utc
from workbench.store._format import dumps, plain, step_text, write_json
from workbench.store._paths import NEW, RUNS, check_study, locate, new_run_id, segments
from workbench.store._segment import content_size
from workbench.store._unknown import known_run
from workbench.store.writer import Run


def run(
    study: str,
    config: Any = None,
    *,
    seed: SupportsIndex | None = None,
    path: str | os.PathLike[str] | None = None,
    tags: Sequence[str] = (),
    note: str = "",
    command: Sequence[str] | str | None = None,
) -> Run:
    """Begin a run of `study` in its own new folder, with everything that is needed to tell later how it came about.

    `config` is a mapping or a dataclass. Recorded beside it: code (commit, uncommitted diff, names of new files),
    packages, machine, command, time. Raises `ValueError` that names the argument. The folder appears whole or not.
    """
    check_study(study)
    annotations.check_tags(tags)
    if seed is not None:
        seed = step_text(seed)
    if not isinstance(config, Mapping | None) and not hasattr(config, "__dataclass_fields__"):
        raise ValueError(f"config: {type(config).__name__} must be a mapping, a dataclass or None")
    root, run_id = locate(path), new_run_id(study)
    while (root / RUNS / run_id).exists():
        run_id = new_run_id(study)
    git, diff = _facts.git()
    record = {
        "schema_version": RUN_SCHEMA,
        "id": run_id,
        "study": study,
        "config": plain(config) or {},
        "seed": seed,
        "started": utc(),
        "command": _facts.command_line(command),
        "tags": list(tags),
        "note": note,
        "git": git,
        "python": sys.version.split()[0],
        "machine": {**_facts.machine(), "load_avg": _facts.load_avg()},
        "packages": _facts.packages(),
        "sessions": [_session(git)],
    }
    draft = draft_folder(root, run_id, record, {"uncommitted.diff": diff} if diff else {})
    return Run(draft.rename(root / RUNS / run_id), 1, 0, {})


def draft_folder(root: Path, run_id: str, record: Mapping[str, Any], artifacts: Mapping[str, bytes]) -> Path:
    """Make a run's folder under a provisional name; the caller renames it when nothing is missing in it any more."""
    draft = root / RUNS / f"{NEW}{run_id}"
    draft.mkdir(parents=True)
    if artifacts:
        (draft / "artifacts").mkdir()
    for name, data in artifacts.items():
        (draft / "artifacts" / name).write_bytes(data)
    (draft / "HEARTBEAT").touch()
    (draft / "run.json").write_text(dumps(record, indent=1) + "\n", encoding="utf-8")
    return draft


def resume(run_id: str, path: str | os.PathLike[str] | None = None) -> Run:
    """Continue a run that has ended, in a new metrics file; steps without a number go on after the last one.

    Where both sessions logged a step, the later value is read. Raises `UnknownRun`, and `RuntimeError` when the run is
    still being written.
    """
    root = locate(path)
    folder = root / RUNS / known_run(root, run_id)
    state = read_state(folder)
    if not state.ended:
        writer = state.record["sessions"][-1]
        raise RuntimeError(f"run {run_id} is still being written by process {writer['pid']} on {writer['host']}")
    earlier = read_ending(folder) or {"wall_s": heartbeat(folder) - seconds(state.record["started"])}
    git, diff = _facts.git()
    sessions = [*state.record["sessions"], _session(git)]
    annotations.resumed(root, run_id)  # first, so that no reader trusts the catalogue about this run any more
    (folder / "HEARTBEAT").touch()
    write_json(folder / "run.json", read_record(folder) | {"sessions": sessions})
    files = segments(folder)
    segment = len(sessions)
    resumed = Run(
        folder, segment, last_step(files) + 1, {k: v for k, v in earlier.items() if isinstance(v, float | int)}
    )
    if diff:
        resumed.artifact(f"uncommitted-{segment}.diff", diff)
    for marker in ("FAILED", "DONE"):
        (folder / marker).unlink(missing_ok=True)
    return resumed


def _session(git: Mapping[str, Any] | None) -> dict[str, Any]:
    commit = {name: git[name] for name in ("commit", "dirty")} if git else None
    return {"started": utc(), **_facts.process(), "git": commit}


def last_step(files: Sequence[Path]) -> int:
    """The step of the last whole line of the newest file that has one; -1 when nothing was logged."""
    for file in reversed(files):
        with file.open("rb") as lines:
            end = content_size(file)
            lines.seek(begin := max(0, end - (1 << 16)))
            for line in reversed(lines.read(end - begin).split(b"\n")):
                try:
                    return int(json.loads(line)["s"])
                except (ValueError, KeyError, TypeError):
                    continue  # the torn last line, or the piece that the window cut off
    return -1
