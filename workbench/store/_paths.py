"""Where a store lies, what its files are called, and how a run is named."""

import calendar
import os
import re
import secrets
import time
import tomllib
from pathlib import Path

from workbench.bundled import folder

RUNS, CURRENT, LOCK, ANNOTATIONS = "runs", "CURRENT", ".lock", "annotations.jsonl"
NEW = ".new-"  # a run folder under construction; renamed when its run.json is written
PURGED = ".purged-"  # a run folder that is being removed

_PROJECT = "parallel-workbench"
_STUDY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_RUN_ID = re.compile(r"(\d{8}-\d{6})-([A-Za-z0-9][A-Za-z0-9._-]*)-([0-9a-f]{6,12})")
_CATALOGUE = re.compile(r"catalog-(\d{6,})\.duckdb")
_SEGMENT = re.compile(r"metrics(?:-(\d+))?\.jsonl")


def locate(path: str | os.PathLike[str] | None = None) -> Path:
    """The folder of the store: `path`, else $WORKBENCH_STORE, else `store/` of the nearest checkout, else user data.

    The checkout is looked for from the working directory upwards; the user's data folder is
    `$XDG_DATA_HOME/workbench` or `~/.local/share/workbench`. Nothing is created. Raises `ValueError` for a '?'.
    """
    chosen = path if path is not None else os.environ.get("WORKBENCH_STORE") or None
    if chosen is not None:
        if "?" in str(chosen):
            raise ValueError(f"path: {str(chosen)!r} must hold no '?', which DuckDB takes for the start of options")
        return Path(chosen).expanduser().absolute()
    here = Path.cwd()
    for candidate in (here, *here.parents):
        if _is_checkout(candidate / "pyproject.toml"):
            return candidate / "store"
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "workbench"


def _is_checkout(pyproject: Path) -> bool:
    if not pyproject.is_file():
        return False
    text = pyproject.read_text(encoding="utf-8", errors="replace")
    if _PROJECT not in text:
        return False
    try:
        return tomllib.loads(text).get("project", {}).get("name") == _PROJECT
    except tomllib.TOMLDecodeError:
        return False  # somebody else's broken file; ours is parsed by pip


def sql_folder() -> Path:
    """The folder of the migrations and views, from the checkout or from inside the wheel."""
    return folder("sql")


def check_study(study: object) -> str:
    """`study`, when it can be part of a folder name. Raises `ValueError` otherwise."""
    if not isinstance(study, str) or not _STUDY.fullmatch(study):
        raise ValueError(
            f"study: {study!r} must be 1 to 80 letters, digits, '.', '_' or '-', beginning with a letter or digit"
        )
    return study


def new_run_id(study: str, seconds: float | None = None, digits: str | None = None) -> str:
    """`YYYYmmdd-HHMMSS-<study>-<hex digits>`, in UTC; now and at random unless told otherwise.

    Eight digits: ten thousand processes that begin in one second share an id once in a hundred times, and `run` then
    draws another.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(seconds))
    return f"{stamp}-{study}-{digits or secrets.token_hex(4)}"


def is_run_id(name: str) -> bool:
    """Whether a folder name is a run's."""
    return _RUN_ID.fullmatch(name) is not None


def run_key(run_id: str) -> int:
    """The run id as a number of 64 bits: its second and its digits. It grows with time, whoever syncs when.

    Seconds count from 2004, so that they and the 32 bits of eight digits fit beside each other until 2072.
    """
    match = _RUN_ID.fullmatch(run_id)
    if match is None:
        raise ValueError(f"run_id: {run_id!r} must look like 20261124-093000-my-study-0a1b2c")
    seconds = calendar.timegm(time.strptime(match[1], "%Y%m%d-%H%M%S"))
    return (seconds - (1 << 30) << 32) | int(match[3][:8], 16)


def names(folder: Path) -> list[str]:
    """The names in a folder, in no order; none when there is no folder."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except FileNotFoundError:
        return []


def segments(run_folder: Path) -> list[Path]:
    """The metrics files of a run, oldest first; each resume opened one."""
    found = [(int(m[1] or 1), run_folder / m[0]) for m in map(_SEGMENT.fullmatch, names(run_folder)) if m]
    return [path for _, path in sorted(found)]


def segment_name(number: int) -> str:
    """The name of the metrics file that the `number`-th session of a run writes."""
    return "metrics.jsonl" if number == 1 else f"metrics-{number}.jsonl"


def catalogue(root: Path, generation: int) -> Path:
    """The file of one generation of the catalogue."""
    return root / f"catalog-{generation:06d}.duckdb"


def generations(root: Path) -> list[int]:
    """The generations that lie in the store, oldest first."""
    return sorted(int(m[1]) for m in map(_CATALOGUE.fullmatch, names(root)) if m)


def current_generation(root: Path) -> int:
    """The number in CURRENT; 0 when nothing was ever synced."""
    try:
        return int((root / CURRENT).read_text())
    except FileNotFoundError:
        return 0


def run_folders(root: Path) -> list[str]:
    """The ids of all run folders, oldest first."""
    return sorted(name for name in names(root / RUNS) if is_run_id(name))
