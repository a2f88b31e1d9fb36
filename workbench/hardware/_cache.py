"""The user's cache folder: what was measured on this machine, and what was compiled here. Needs no jax.

What lies here can be deleted at any time, and is trusted only if it is exactly what would be written now.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

VARIABLE = "WORKBENCH_CACHE"
_VERSION = 1

COMPILED_LIMIT_BYTES = 2 * 1024**3
"""How much the compilation cache may hold before its oldest files go."""

COMPILED_WORTH_S = 0.1
"""A program that compiles faster is not worth a file."""


@dataclasses.dataclass(frozen=True)
class Kept:
    """What was found in the cache: when it was measured (UTC) and the figures."""

    measured: str
    figures: Mapping[str, Any]


def cache_folder() -> Path:
    """$WORKBENCH_CACHE, else $XDG_CACHE_HOME/workbench, else ~/.cache/workbench. Nothing is created."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "workbench"


def recall(kind: str, facts: Mapping[str, Any], names: Iterable[str]) -> Kept | None:
    """What `keep` wrote for this `kind` and exactly these `facts`, if every figure is a finite number above 0.

    `names` are the figures that must be there, no more and no less. None for anything else: absent, torn, of another
    version, of another machine.
    """
    try:
        told = json.loads(_file(kind, facts).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return None  # measured again; never half trusted
    if not isinstance(told, dict) or told.get("version") != _VERSION or told.get("facts") != dict(facts):
        return None
    figures, measured = told.get("figures"), told.get("measured")
    if not isinstance(figures, dict) or set(figures) != set(names) or not isinstance(measured, str):
        return None
    return Kept(measured, figures) if all(map(_positive, figures.values())) else None


def keep(kind: str, facts: Mapping[str, Any], figures: Mapping[str, float], measured: str) -> Path | None:
    """Write figures for `recall`, whole or not at all. A folder that cannot be written gives a warning and None."""
    file = _file(kind, facts)
    told = {"version": _VERSION, "measured": measured, "facts": dict(facts), "figures": dict(figures)}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=file.parent, prefix=".new-")
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump(told, out, indent=1)
        Path(draft).replace(file)
    except OSError as error:
        warnings.warn(f"what was measured is not kept: {error}; set {VARIABLE} to a folder to write to", stacklevel=2)
        return None
    return file


def compilation_cache(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Environment variables that have JAX keep what it compiles in the cache folder; a process reads them at its start.

    A choice that `environment` already makes stands (an empty JAX_COMPILATION_CACHE_DIR switches it off). Makes room
    first: the files used longest ago go when there are more than 2 GiB.
    """
    folder = environment.get("JAX_COMPILATION_CACHE_DIR")
    if folder is None:
        folder = str(cache_folder() / "compiled")
        _make_room(Path(folder), COMPILED_LIMIT_BYTES)
    chosen = {
        "JAX_COMPILATION_CACHE_DIR": folder,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": str(COMPILED_WORTH_S),
    }
    return {name: environment.get(name, value) for name, value in chosen.items()}


def _make_room(folder: Path, limit_bytes: int) -> None:
    files = []
    for path in folder.glob("*") if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):  # another process may make room, too
            stat = path.stat()
            files.append((max(stat.st_atime, stat.st_mtime), stat.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= limit_bytes:
            return
        path.unlink(missing_ok=True)
        total -= size


def _file(kind: str, facts: Mapping[str, Any]) -> Path:
    named = json.dumps(dict(facts), sort_keys=True)
    return cache_folder() / "measured" / f"{kind}-{hashlib.sha256(named.encode()).hexdigest()[:16]}.json"


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
