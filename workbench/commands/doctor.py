"""`workbench doctor`: what this installation and this machine can do, and what is missing."""

import os
import platform
import shutil
import sys
from importlib import metadata, util
from pathlib import Path
from typing import NamedTuple

from rich.markup import escape
from rich.table import Table

from workbench import store, studies
from workbench.commands._console import output

_EXTRAS = {
    "app": ["panel", "holoviews"],
    "notebooks": ["jupyterlab", "ipykernel"],
    "data": ["skimage", "sklearn"],
    "tensorboard": ["tensorboard"],
    "cluster": ["distributed"],
    "dev": ["pytest", "ruff"],
}


class Finding(NamedTuple):
    """One thing that was looked at: `level` is "ok", "note" (works without it) or "fault"."""

    level: str
    what: str
    detail: str


def findings(path: Path | None) -> list[Finding]:
    """Everything that the doctor looks at, in the order in which it is shown."""
    return [*_python(), *_jax(), *_extras(), *_tools(), *_store(path), *_studies()]


def command(path: Path | None) -> int:
    """Print the findings; exit code 1 when there is a fault."""
    marks = {"ok": "[green]✓", "note": "[yellow]·", "fault": "[red]✗"}
    table = Table(box=None, show_header=False, pad_edge=False)
    found = findings(path)
    for finding in found:
        table.add_row(marks[finding.level], finding.what, escape(finding.detail))
    output().print(table)
    return 1 if any(finding.level == "fault" for finding in found) else 0


def _python() -> list[Finding]:
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("jax", "numpy", "polars", "duckdb"))
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return [Finding("ok", "python", f"{sys.version.split()[0]} on {system}"), Finding("ok", "packages", versions)]


def _jax() -> list[Finding]:
    import jax

    from workbench import rnn

    devices = ", ".join(str(device) for device in jax.devices())
    return [Finding("ok", "jax devices", devices), _loops(rnn.fast_loops_active(), rnn.xla_flags())]


def _loops(fast: bool, flags: str) -> Finding:
    """XLA takes loops above 1 KB a step apart unless it is told not to."""
    if fast:
        return Finding("ok", "loops on CPU", "each compiled into one kernel")
    return Finding("note", "loops on CPU", f"slow above 1 KB a step; before the start: export XLA_FLAGS='{flags}'")


def _extras() -> list[Finding]:
    found = []
    for extra, modules in _EXTRAS.items():
        absent = [name for name in modules if util.find_spec(name) is None]
        detail = f"without {', '.join(absent)}: pip install 'parallel-workbench[{extra}]'" if absent else "installed"
        found.append(Finding("note" if absent else "ok", f"extra {extra}", detail))
    return found


def _tools() -> list[Finding]:
    wanted = {"git": "runs record the commit", "chromium": "browser tests", "nvidia-smi": "studies that need a GPU"}
    paths = {name: shutil.which(name) for name in wanted}
    return [
        Finding("ok" if paths[name] else "note", name, paths[name] or f"not found ({use})")
        for name, use in wanted.items()
    ]


def _store(path: Path | None) -> list[Finding]:
    where = store.locate(path)
    with store.open(path) as log:
        runs = log.runs()
    crashed = int((runs["status"] == "crashed").sum())
    level = "note" if crashed else "ok"
    return [Finding(level, "store", f"{where}: generation {log.generation}, {runs.height} runs, {crashed} crashed")]


def _studies() -> list[Finding]:
    found = []
    for slug in studies.find():
        try:
            _, claims = studies.claims(slug)
            found.append(
                Finding("ok", f"study {slug}", f"{len(claims)} claims, {sum(c.tested for c in claims)} tested")
            )
        except ValueError as error:  # the doctor reports what is broken instead of stopping at it
            found.append(Finding("fault", f"study {slug}", str(error)))
    return found
