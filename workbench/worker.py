"""One study in one process: `python -m workbench.worker SLUG --preset quick`.

The runner starts this with the environment that the study needs. The run is recorded in the store; what happens is told
on standard output, one JSON object a line. What the study prints goes to standard error.
"""

import argparse
import dataclasses
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from workbench import store, studies
from workbench.study import Judgement, Study, result_row, verdict


class StudyLog:
    """What a study's `run` is handed: it can log, tell its progress and keep an artifact; it knows no database."""

    def __init__(self, run: store.Run, events: TextIO, unfinished: Path) -> None:
        self._run, self._events, self._unfinished = run, events, unfinished

    def log(self, step: int | None = None, **metrics: Any) -> None:
        """Append one row of metrics."""
        self._run.log(step=step, **metrics)

    def log_many(self, step: Any = None, **columns: Any) -> None:
        """Append many rows at once, one array a metric."""
        self._run.log_many(step=step, **columns)

    def artifact(self, name: str, data: Any) -> None:
        """Keep bytes, text or a file with the run."""
        self._run.artifact(name, data)

    def folder(self, name: str) -> Path:
        """Where long work keeps checkpoints: the next run with this config and code finds them if this one is ended."""
        return self._unfinished / name

    def progress(self, done: float, total: float, what: str = "") -> None:
        """Tell how far the study is: `done` of `total`, and what it does now."""
        _tell(self._events, event="progress", done=done, total=total, what=what)


def main(argv: list[str] | None = None) -> int:
    """Run one study; returns 0, or 1 when it crashed (the traceback goes to standard error and to the run)."""
    parser = argparse.ArgumentParser(prog="workbench.worker", description=__doc__)
    parser.add_argument("slug")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--store")
    parser.add_argument("--batch", default="")
    options = parser.parse_args(argv)
    events, sys.stdout = sys.stdout, sys.stderr
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    study = studies.get(options.slug)
    config = configure(study, options.preset, options.seeds)
    # Not "batch": in many a config that is the size of one.
    ours = {"preset": options.preset, "batch_id": options.batch}
    recorded = ours | dataclasses.asdict(config) | ours
    unfinished = store.unfinished(study.slug, recorded | {"batch_id": ""}, options.store)
    with store.run(study.slug, recorded, path=options.store, tags=[options.preset]) as run:
        _tell(events, event="started", run=run.id)
        run.claims(study.paper.row(), [claim.row() for claim in study.claims])
        judge(study, config, run, StudyLog(run, events, unfinished), options.preset)
    store.finished(unfinished)
    _tell(events, event="finished", run=run.id)
    return 0


def _interrupt(number: int, frame: Any) -> None:
    """Ctrl-C comes from the terminal and again from the runner: the first one ends the run, and is recorded."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def configure(study: Study, preset: str, seeds: int | None = None) -> Any:
    """The config of a preset, with `seeds` seeds where the study takes any. Raises `ValueError` for another preset."""
    if preset not in study.presets:
        raise ValueError(f"preset: {preset!r} must be one of {sorted(study.presets)} for study {study.slug!r}")
    config = study.presets[preset]
    if seeds is not None and hasattr(config, "seeds"):
        config = dataclasses.replace(config, seeds=tuple(range(seeds)))
    return config


def judge(study: Study, config: Any, run: store.Run, log: StudyLog, preset: str) -> list[Judgement]:
    """Run the study and record one result for each claim that it brought an outcome for."""
    began = time.perf_counter()
    outcomes = study.run(config, log)
    seconds = time.perf_counter() - began
    claims = {claim.key: claim for claim in study.claims}
    unknown = set(outcomes) - set(claims)
    if unknown:
        raise KeyError(f"study {study.slug!r} returned outcomes for {sorted(unknown)}, which its TOML does not hold")
    judgements = []
    for key, outcome in outcomes.items():
        judgement = verdict(claims[key], outcome)
        run.result(result_row(claims[key], outcome, judgement) | {"preset": preset, "seconds": seconds})
        judgements.append(judgement)
    return judgements


def _tell(events: TextIO, **facts: Any) -> None:
    events.write(json.dumps(facts) + "\n")
    events.flush()


if __name__ == "__main__":
    sys.exit(main())
