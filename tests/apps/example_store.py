"""A small store that shows every state of the pages: made through the public interface, in about a second."""

import dataclasses
import math
import os
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench import store, studies
from workbench.study import Outcome, result_row, verdict

HERE = Path(__file__).resolve().parent
PAPERS = HERE / "papers"
TOY = HERE.parent / "toy"

# 0.93 against 7.4 and so on: the control is the broken twin, which has to fail.
OUTCOMES = {
    "speed-up": Outcome([7.31, 7.52, 7.40, 7.28, 7.45], modelled=7.6, control=1.0, note="five repetitions"),
    "iterations": Outcome(4, control=31),
    "small-scale": Outcome(0.95, control=0.4),
    "model": Outcome(modelled=39.2, control=64.0),
    "queue": Outcome([11.6, 12.3, 12.1, 11.9, 12.4], control=55.0),
    "memory": Outcome(
        {"x": [1, 2, 4, 8, 16], "y": [1.0, 3.1, 9.2, 27.5, 80.0]}, control={"x": [1, 2, 4], "y": [5, 5, 5]}
    ),
    "energy": Outcome([0.41, 0.44, 0.39], control=1.0),
    "noise": Outcome([1.1, 2.9, 2.2, 3.4, 1.6], control=30.0),
    "order": Outcome(
        {"blocked": [9.1, 9.0, 9.2], "strided": [7.2, 7.1, 7.0], "random": [3.0, 3.1, 2.9]},
        control={"blocked": [1.0, 1.1, 0.9], "strided": [7.2, 7.1, 7.0], "random": [3.0, 3.1, 2.9]},
    ),
    "exact": Outcome(0.0, control=1.0),
}


@contextmanager
def named_studies(*folders: Path) -> Iterator[None]:
    """`WORKBENCH_STUDIES` names these folders inside the block."""
    before = os.environ.get("WORKBENCH_STUDIES")
    os.environ["WORKBENCH_STUDIES"] = os.pathsep.join(map(str, folders))
    try:
        yield
    finally:
        if before is None:
            del os.environ["WORKBENCH_STUDIES"]
        else:
            os.environ["WORKBENCH_STUDIES"] = before


def fill(path: Path) -> dict[str, str]:
    """Record the example runs in the store at `path`; returns their ids by what they are."""
    paper, claims = studies.claims("lanes")
    ids = {"rnn": recurrences(path)}
    with store.run("lanes", {"preset": "quick", "lanes": 8, "rate": 0.1}, seed=0, path=path, tags=["quick"]) as run:
        run.claims(paper.row(), [claim.row() for claim in claims])
        for claim in claims:
            if claim.key in OUTCOMES:
                _record(run, claim, OUTCOMES[claim.key])
        _curve(run, 600, rate=0.010, floor=0.05)
        ids["claims"] = run.id
    with store.run("lanes", {"preset": "quick", "lanes": 4, "rate": 0.03}, seed=1, path=path, tags=["sweep"]) as run:
        _curve(run, 600, rate=0.018, floor=0.09)
        ids["second"] = run.id
    store.note(ids["second"], "half the lanes, three times the rate", path=path)
    run = store.run("lanes", {"preset": "quick", "lanes": 2, "rate": 9.0}, seed=1, path=path, tags=["sweep"])
    run.log(step=0, loss=1.0)
    run.fail(OverflowError("the loss is not finite"))
    ids["failed"] = run.id
    with store.run("long-curve", {"points": 20_000}, path=path) as run:
        run.log_many(signal=[math.sin(i / 900) + 0.2 * random.Random(i).random() for i in range(20_000)])
        ids["long"] = run.id
    return ids


# Seconds of the ways, as multiples of the compiled loop: 512 steps of a small cell on a processor.
WAYS = {"loop": 1500.0, "sliced-loop": 420.0, "scan-unfused": 6.4, "scan": 1.0, "newton": 5.2}


def recurrences(path: Path, ways: Iterable[str] = tuple(WAYS), sweep: bool = True) -> str:
    """A run of the study of parallel recurrences: seconds, residuals, and iterations along λ; returns its id."""
    noise = random.Random(1)
    config = {"preset": "quick", "speed_length": 512, "speed_dim": 16}
    with store.run("pararnn", config, path=path, tags=["quick"]) as run:
        for cell, scale in (("paragru", 1.0), ("paralstm", 1.3)):
            for step in range(5):
                taken = {f"seconds/{way}/{cell}": 5e-5 * scale * WAYS[way] * noise.uniform(0.95, 1.1) for way in ways}
                run.log(step=step, **taken)
            for name, decades, steps in (("residual", 1.9, 7), ("residual-jacobi", 0.16, 40)):
                for step in range(steps):
                    error = max(2e-7, scale * 10 ** (-decades * step))
                    lengths = {f"{name}/{cell}/{n}": error * n**0.1 for n in (256, 512, 1024, 2048)}
                    run.log(step=step, **lengths)
        for step in range(13 if sweep else 0):
            gain = 0.4 + 0.1 * step
            exponent = math.log(gain) - 0.05
            newton = 3.0 + 0.8 / max(0.05, -exponent) if exponent < 0 else math.nan
            found = {"newton": newton, "quasi-newton": 2.5 * newton, "jacobi": 9.0 * newton}
            run.log(step=step, **{"sweep/gain": gain, "sweep/lyapunov": exponent})
            run.log(step=step, **{f"sweep/iterations/{name}": n for name, n in found.items()})
        return run.id


def _record(run: store.Run, claim, outcome: Outcome) -> None:
    row = result_row(claim, outcome, verdict(claim, outcome)) | {"preset": "quick", "seconds": 1.5}
    if claim.key == "small-scale":  # judged under another wording of the claim
        row = result_row(dataclasses.replace(claim, scope="older"), outcome, verdict(claim, outcome)) | {
            "preset": "quick"
        }
    run.result(row)


def _curve(run: store.Run, n: int, rate: float, floor: float) -> None:
    noise = random.Random(0)
    loss = [math.exp(-rate * i) + floor + 0.02 * noise.random() for i in range(n)]
    run.log_many(loss=loss, accuracy=[1 - value / 1.2 for value in loss])
