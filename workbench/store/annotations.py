"""Tags, notes and deletions: events appended to one file, folded by whoever reads. Nothing is rewritten.

An event is a line `{"id", "created_at", "kind", "run_id", …}`. Deleting hides a run; `undo` takes the last event back;
only `purge` removes files.
"""

import os
import secrets
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from workbench.store._folder import read_state, utc
from workbench.store._format import append_line, read_lines
from workbench.store._paths import ANNOTATIONS, PURGED, RUNS, locate, run_folders
from workbench.store._unknown import known_run

_UNDOABLE = ("tag", "untag", "note", "delete")


def check_tags(tags: Sequence[str]) -> None:
    """Raise `TypeError` or `ValueError` unless `tags` are short texts."""
    if isinstance(tags, str):
        raise TypeError(f"tags: {tags!r} must be a sequence of texts, such as [{tags!r}]")
    for tag_ in tags:
        if not isinstance(tag_, str) or not tag_.strip() or len(tag_) > 100:
            raise ValueError(f"tags: {tag_!r} must be a text of 1 to 100 characters")


def tag(run_id: str, *tags: str, path: str | os.PathLike[str] | None = None) -> None:
    """Add tags to a run. Raises `UnknownRun` and `ValueError`."""
    _annotate(path, "tag", run_id, tags=_some(tags))


def untag(run_id: str, *tags: str, path: str | os.PathLike[str] | None = None) -> None:
    """Take tags from a run; a tag that it has not is no error. Raises `UnknownRun` and `ValueError`."""
    _annotate(path, "untag", run_id, tags=_some(tags))


def note(run_id: str, text: str, path: str | os.PathLike[str] | None = None) -> None:
    """Set the note of a run; an empty text removes it. Raises `UnknownRun` and `TypeError`."""
    if not isinstance(text, str):
        raise TypeError(f"text: {text!r} must be a text")
    _annotate(path, "note", run_id, text=text)


def delete(run_id: str, path: str | os.PathLike[str] | None = None) -> None:
    """Hide a run and its results everywhere; its files stay until `purge`. Raises `UnknownRun`."""
    _annotate(path, "delete", run_id)


def undo(path: str | os.PathLike[str] | None = None) -> str:
    """Take back the last annotation that still stands, and say which; again, the one before it.

    Raises `LookupError` when there is nothing to undo.
    """
    root = locate(path)
    standing = [event for event in standing_events(root) if event["kind"] in _UNDOABLE]
    if not standing:
        raise LookupError("there is no annotation to undo")
    last = standing[-1]
    append_line(root / ANNOTATIONS, _event("undo", last["run_id"], target=last["id"]))
    what = " ".join([last["kind"], *last.get("tags", ()), *filter(None, [last.get("text")])])
    return f"undone: {what} ({last['run_id']})"


def purge(path: str | os.PathLike[str] | None = None) -> list[str]:
    """Remove the folders of deleted runs for good, and build the catalogue again; returns their ids.

    A deleted run that is still being written is kept. There is no undo.
    """
    from workbench.store._sync import rebuild_locked, store_lock

    root = locate(path)
    with store_lock(root):
        present = set(run_folders(root))
        doomed = sorted(
            run_id
            for run_id, folded in fold(root).items()
            if folded["deleted"] and run_id in present and read_state(root / RUNS / run_id).ended
        )
        for run_id in doomed:
            (root / RUNS / run_id).rename(root / RUNS / f"{PURGED}{run_id}")
        leaving = sorted((root / RUNS).glob(f"{PURGED}*"))  # with those of a purge that was cut short
        if leaving:
            rebuild_locked(root)
        for folder in leaving:
            # the deletion stands until here, so that no reader sees the run again meanwhile
            append_line(root / ANNOTATIONS, _event("purge", folder.name.removeprefix(PURGED)))
            shutil.rmtree(folder)
    return [folder.name.removeprefix(PURGED) for folder in leaving]


def resumed(root: Path, run_id: str) -> None:
    """Tell the readers that a run goes on after it may have been ingested."""
    append_line(root / ANNOTATIONS, _event("resume", run_id))


def events(root: Path) -> tuple[list[dict[str, Any]], int]:
    """All events, oldest first, and how many lines were torn."""
    return read_lines(root / ANNOTATIONS)


def standing_events(root: Path) -> list[dict[str, Any]]:
    """The events that were not undone and whose run was not purged since, without the undoing itself."""
    told, _ = events(root)
    undone = {event.get("target") for event in told if event["kind"] == "undo"}
    purged = {event["run_id"]: at for at, event in enumerate(told) if event["kind"] == "purge"}
    return [
        event
        for at, event in enumerate(told)
        if event["kind"] not in ("undo", "purge") and event["id"] not in undone and at > purged.get(event["run_id"], -1)
    ]


def fold(root: Path) -> dict[str, dict[str, Any]]:
    """{run id: {added, removed, note, deleted}} for each run with a standing annotation; note is None when unset."""
    folded: dict[str, dict[str, Any]] = {}
    for event in standing_events(root):
        if event["kind"] not in _UNDOABLE:
            continue
        row = folded.setdefault(event["run_id"], {"added": [], "removed": [], "note": None, "deleted": False})
        match event["kind"]:
            case "tag":
                row["added"], row["removed"] = _moved(event["tags"], row["added"], row["removed"])
            case "untag":
                row["removed"], row["added"] = _moved(event["tags"], row["removed"], row["added"])
            case "note":
                row["note"] = event["text"]
            case "delete":
                row["deleted"] = True
    return folded


def _moved(tags: Iterable[str], into: list[str], out_of: list[str]) -> tuple[list[str], list[str]]:
    wanted = dict.fromkeys(tags)
    return list(dict.fromkeys([*into, *wanted])), [one for one in out_of if one not in wanted]


def _some(tags: tuple[str, ...]) -> list[str]:
    if not tags:
        raise ValueError("tags: name at least one")
    check_tags(tags)
    return list(tags)


def _annotate(path: str | os.PathLike[str] | None, kind: str, run_id: str, **facts: Any) -> None:
    root = locate(path)
    append_line(root / ANNOTATIONS, _event(kind, known_run(root, run_id), **facts))


def _event(kind: str, run_id: str, **facts: Any) -> dict[str, Any]:
    return {"id": secrets.token_hex(4), "created_at": utc(), "kind": kind, "run_id": run_id, **facts}
