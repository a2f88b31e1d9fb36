"""Runs studies: one child process a study, with the environment that the study needs, several at a time.

A child is a plain `python -m workbench.worker`, never a fork: jax does not survive one, and a user's script need not
guard its main module.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import hardware, store, studies
from workbench.study import Needs, load_needs

if TYPE_CHECKING:
    import polars as pl

_GRACE_S = 10.0
Listener = Callable[[str, dict[str, Any]], None]

PRESETS = ("quick", "full", "gpu")


@dataclass(frozen=True)
class Job:
    """One study to run: which preset, with how many seeds (None: the preset's), into which store."""

    slug: str
    preset: str
    seeds: int | None
    path: str
    batch: str

    def command(self) -> list[str]:
        """The child's command line."""
        words = [sys.executable, "-m", "workbench.worker", self.slug, "--preset", self.preset, "--batch", self.batch]
        words += ["--store", self.path]
        return words + ([] if self.seeds is None else ["--seeds", str(self.seeds)])


@dataclass(frozen=True)
class Finished:
    """How a job ended: the id of its run (None when it never began), its exit code, and the end of its error output."""

    job: Job
    run: str | None
    code: int
    error: str
    seconds: float


def reproduce(
    slugs: Iterable[str] | None = None,
    *,
    preset: str = "quick",
    seeds: int | None = None,
    jobs: int = 1,
    path: str | Path | None = None,
    resume: bool = False,
    cluster: str | None = None,
    listener: Listener | None = None,
) -> "pl.DataFrame":
    """Run the studies `slugs` (all when None) and return one row a claim: published, measured, modelled, verdict.

    `jobs` studies run at a time, each in its own process; or, with `cluster`, the address of a Dask scheduler, wherever
    it has a worker free (the workers must see the same store). `resume` leaves out what the newest batch has finished.
    The rows of a study that crashed are untested; the store keeps its traceback. Raises `KeyError` for an unknown study
    and `ValueError` for a bad `preset`, `seeds` or `jobs`.
    """
    finished = run(
        slugs, preset=preset, seeds=seeds, jobs=jobs, path=path, resume=resume, cluster=cluster, listener=listener
    )
    return rows(finished, path)


def rows(finished: list[Finished], path: str | Path | None = None) -> "pl.DataFrame":
    """The scoreboard of just these runs; the rows of a study that crashed are untested and say so."""
    from workbench.scoreboard import scoreboard

    with store.open(path) as log:
        frame = scoreboard(log, [f.job.slug for f in finished], [f.run for f in finished if f.run])
    return _explain_crashes(frame, finished)


def run(
    slugs: Iterable[str] | None = None,
    *,
    preset: str = "quick",
    seeds: int | None = None,
    jobs: int = 1,
    path: str | Path | None = None,
    resume: bool = False,
    cluster: str | None = None,
    listener: Listener | None = None,
) -> list[Finished]:
    """Run studies as `reproduce` does, and return how each ended; the store is synced at the end."""
    chosen = list(studies.find()) if slugs is None else [slugs] if isinstance(slugs, str) else list(slugs)
    for slug in chosen:
        studies.claims(slug)  # a mistake in any TOML is told before the first study starts
    if preset not in PRESETS:
        raise ValueError(f"preset: {preset!r} must be one of {PRESETS}")
    for name, value in (("jobs", jobs), ("seeds", seeds)):
        if value is not None and value < 1:
            raise ValueError(f"{name}: {value!r} must be at least 1")
    batch, done = _last_batch(path, preset) if resume else ("", {})
    batch = batch or f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    location = str(store.locate(path))
    todo = [Job(slug, preset, seeds, location, batch) for slug in chosen]
    tell = listener or (lambda slug, event: None)
    results = [Finished(job, done[job.slug], 0, "", 0.0) for job in todo if job.slug in done]
    left = [job for job in todo if job.slug not in done]
    results += _in_children(left, jobs, tell) if cluster is None else _on_cluster(left, cluster, tell)
    store.sync(path)
    return results


def _in_children(todo: list[Job], jobs: int, tell: Listener) -> list[Finished]:
    """Run jobs in child processes of this one; an interrupt ends the children, and what finished is kept."""
    running: set[subprocess.Popen[str]] = set()
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        futures = [pool.submit(start, job, tell, running) for job in todo]
        try:
            # In short waits: a native thread may take the signal, and then nothing wakes a main thread that waits.
            while wait(futures, timeout=0.2).not_done:
                pass
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            _end(list(running))
            raise
        return [future.result() for future in futures]


def _end(children: list[subprocess.Popen[str]]) -> None:
    """Ask the children to end, so that their runs are recorded as interrupted; kill those that do not within 10 s."""
    for child in children:
        child.terminate()
    deadline = time.monotonic() + _GRACE_S
    for child in children:
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()


def _on_cluster(todo: list[Job], address: str, tell: Listener) -> list[Finished]:
    """The same calls on the workers of a Dask scheduler; only their ends are told, as they come in."""
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise ImportError("a cluster needs Dask: pip install 'parallel-workbench[cluster]'") from error
    with Client(address) as client:
        futures = client.map(_start_alone, todo, pure=False)
        for _, finished in as_completed(futures, with_results=True):
            tell(finished.job.slug, {"event": "ended", "code": finished.code})
        return client.gather(futures)


def _start_alone(job: Job) -> Finished:
    return start(job, lambda slug, event: None, set())


def start(job: Job, tell: Listener, running: set[subprocess.Popen[str]]) -> Finished:
    """Run one job in a child process and pass its events on; blocks until the child ends."""
    needs = load_needs(studies.path(job.slug))
    missing = lacking(needs)
    if missing:
        tell(job.slug, {"event": "ended", "code": 1})
        return Finished(job, None, 1, f"this study needs {' and '.join(missing)}", 0.0)
    began, run_id = time.perf_counter(), None
    child = subprocess.Popen(
        job.command(), env=environment(needs), stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    )
    running.add(child)
    assert child.stdout is not None
    assert child.stderr is not None
    with child, ThreadPoolExecutor(1) as reader:
        stderr = reader.submit(child.stderr.read)  # beside the events, so that a full pipe cannot stop the child
        for line in child.stdout:
            event = json.loads(line)
            run_id = event.get("run", run_id)
            tell(job.slug, event)
        errors = stderr.result().strip().splitlines()
    running.discard(child)
    code = child.returncode
    tell(job.slug, {"event": "ended", "code": code})
    return Finished(job, run_id, code, "\n".join(errors[-12:]) if code else "", time.perf_counter() - began)


def environment(needs: Needs) -> dict[str, str]:
    """The environment variables of a child: what this process has, what the study needs, and the compilation cache."""
    flags = [os.environ.get("XLA_FLAGS", ""), *needs.xla_flags]
    if needs.devices > 1:
        flags.append(f"--xla_force_host_platform_device_count={needs.devices}")
    env = os.environ | {"XLA_FLAGS": " ".join(flag for flag in flags if flag)}
    env["JAX_ENABLE_X64"] = "1" if needs.x64 else "0"
    if not needs.gpu:
        env.setdefault("JAX_PLATFORMS", "cpu")
    return env | hardware.compilation_cache(env)


def lacking(needs: Needs) -> list[str]:
    """What a study needs and this machine lacks: a GPU, packages of an extra."""
    missing = ["a GPU (nvidia-smi was not found)"] if needs.gpu and shutil.which("nvidia-smi") is None else []
    for extra in needs.extras:
        wanted = [
            r for r in metadata.requires("parallel-workbench") or () if re.search(rf"extra == ['\"]{extra}['\"]", r)
        ]
        absent = [name for name in (re.split(r"[^\w.-]", r, maxsplit=1)[0] for r in wanted) if not _installed(name)]
        if absent:
            missing.append(f"{', '.join(absent)} (pip install 'parallel-workbench[{extra}]')")
    return missing


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _last_batch(path: str | Path | None, preset: str) -> tuple[str, dict[str, str]]:
    """The newest batch of this preset, and the runs that it finished, by study."""
    with store.open(path) as log:
        runs = log.runs().reverse().to_dicts()  # oldest first
    configs = [(run, json.loads(run["config"] or "{}")) for run in runs]
    batches = [config["batch_id"] for _, config in configs if config.get("batch_id") and config.get("preset") == preset]
    if not batches:
        return "", {}
    newest = [run for run, config in configs if config.get("batch_id") == batches[-1]]
    return batches[-1], {run["study"]: run["run_id"] for run in newest if run["status"] == "finished"}


def _explain_crashes(frame: "pl.DataFrame", finished: list[Finished]) -> "pl.DataFrame":
    import polars as pl

    for job in (f for f in finished if f.code):
        why = f"the study crashed: {(job.error.splitlines() or ['it said nothing'])[-1]}"
        crashed = (pl.col("paper") == job.job.slug) & (pl.col("verdict") == "untested")
        frame = frame.with_columns(
            pl.when(crashed).then(pl.lit(why)).otherwise("verdict_reason").alias("verdict_reason")
        )
    return frame
