"""ParaRNN (arXiv 2510.21450) on a CPU: how fast Newton converges, where it ends, what it is worth, what is learned."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from workbench import data
from workbench.studies import _pararnn_convergence as convergence
from workbench.studies import _pararnn_lm as lm
from workbench.studies import _pararnn_newton as newton
from workbench.studies import _pararnn_speed as speed
from workbench.studies import _pararnn_sweep as sweep
from workbench.studies import _pararnn_tasks as tasks
from workbench.studies import _pararnn_theory as theory
from workbench.studies._jobs import compute, counter
from workbench.study import Outcome, slugify

CELLS = newton.CELLS


@dataclass(frozen=True)
class Config:
    """Sizes of the experiments; `seeds` are those of what is trained and drawn, the first one draws the recurrences.

    `tasks` names the models of each task, `task_steps` bounds their training further; without a `budget` there are no
    language models.
    """

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    hidden_dim: int = 64
    batch: int = 8
    lengths: tuple[int, ...] = (256, 512, 1024, 2048)
    newton_steps: int = 6
    jacobi_steps: int = 80
    gradient_length: int = 256
    speed_length: int = 512
    speed_dim: int = 16
    speed_repeats: int = 5
    tasks: tuple[tuple[str, tuple[str, ...]], ...] = ((tasks.PARITY, ("ParaGRU", "ParaLSTM", "linear GRU")),)
    task_steps: int | None = None
    budget: lm.Budget | None = None
    networks: sweep.Sweep = sweep.QUICK


PRESETS = {
    "quick": Config(),
    "full": Config(
        speed_repeats=30,
        tasks=tuple((task, tuple(tasks.MODELS)) for task in tasks.SETTINGS),
        budget=lm.Budget(),
        networks=sweep.FULL,
    ),
}


def run(config: Config, log: Any) -> dict[str, Outcome]:
    """All outcomes of the study, by claim."""
    x = newton.inputs(config.batch, max(config.lengths), config.hidden_dim, config.seeds[0])
    jobs: dict[Any, Callable[[], Any]] = {
        "structure": lambda: convergence.structure(config),
        "where Newton ends": lambda: theory.outcomes(config.networks, log),
        **{("iterations", name): partial(convergence.iterations, config, log, name, x) for name in CELLS},
        **{("exactness", name): partial(convergence.exactness, config, log, name, x) for name in CELLS},
        **{
            (task, model): partial(learn, config, log, task, model) for task, models in config.tasks for model in models
        },
    }
    if config.budget is not None:
        jobs["further limits"] = lambda: theory.further(log)
        jobs |= {("bytes", model): partial(train, config, log, model) for model in lm.MIXERS}
        jobs |= {("Newton iterations", k): partial(train_with, config, log, k) for k in lm.ITERATIONS}
    alone = {("seconds", name): partial(speed_up, config, log, name) for name in CELLS}  # for the clock's sake
    tell = counter(log, len(jobs) + len(alone))
    found = compute(jobs, tell) | compute(alone, tell, workers=1)
    return claims(config, found)


def claims(config: Config, found: Mapping[Any, Any]) -> dict[str, Outcome]:
    """The outcomes that follow from what the jobs found."""
    outcomes = tokens() | found["structure"] | found["where Newton ends"]
    outcomes |= convergence.iteration_claims(config, {name: found["iterations", name] for name in CELLS})
    outcomes |= tasks.claims({task: {model: found[task, model] for model in models} for task, models in config.tasks})
    for name in CELLS:
        outcomes |= found["exactness", name] | found["seconds", name]
    if config.budget is not None:
        outcomes |= found["further limits"]
        outcomes |= lm.claims(config.budget, {model: found["bytes", model] for model in lm.MIXERS})
        truncated = {k: found["Newton iterations", k] for k in lm.ITERATIONS}
        outcomes |= lm.truncation_claims(found["bytes", "ParaGRU"], truncated)
    return outcomes


def tokens() -> dict[str, Outcome]:
    """Iterations x sequences x 2048 tokens of each training recipe, in billions; the control halves the sequences."""
    outcomes = {}
    for row in data.published("pararnn-training").iter_rows(named=True):
        billions = row["iterations"] * row["sequences"] * 2048 / 1e9
        outcomes[f"lm.{row['size'].lower()}.tokens"] = Outcome(modelled=billions, control=billions / 2)
    return outcomes


def learn(config: Config, log: Any, task: str, model: str) -> tasks.Learned:
    """One layer a seed; its accuracy on held-out strings is logged while it learns."""
    title = f"accuracy/{task}/{slugify(model)}"

    def report(step: int, accuracy: np.ndarray) -> None:
        log.log(step=step, **{f"{title}/{seed}": float(a) for seed, a in zip(config.seeds, accuracy, strict=True)})

    setting = tasks.SETTINGS[task]
    if config.task_steps is not None:
        setting = replace(setting, steps=min(setting.steps, config.task_steps))
    return tasks.learn(setting, tasks.MODELS[model], config.seeds, report, log.folder(title))


def train(config: Config, log: Any, model: str) -> lm.Compared:
    """A model of bytes a seed."""
    assert config.budget is not None
    return lm.train(config.budget, lm.MIXERS[model], config.seeds, log, f"bytes/{slugify(model)}")


def train_with(config: Config, log: Any, iterations: int) -> lm.Compared:
    """ParaGRU trained with a fixed number of Newton iterations."""
    assert config.budget is not None
    title = f"bytes/paragru-{iterations}"
    return lm.train(config.budget, lm.with_iterations(iterations), config.seeds[:1], log, title)


def speed_up(config: Config, log: Any, name: str) -> dict[str, Outcome]:
    """Three Newton iterations against the loop and against lax.scan; the control puts the loop in their place."""
    cell, key = newton.cell_named(name, config.speed_dim), name.lower()
    taken, first = speed.seconds(cell, config.speed_length, config.speed_repeats, 3, config.seeds[0])
    log.log(step=0, **{f"first-call-s/{way}/{key}": value for way, value in first.items()})
    for step in range(config.speed_repeats):
        log.log(step=step, **{f"seconds/{way}/{key}": times[step] for way, times in taken.items()})
    loop, sliced, scan, parallel = (np.asarray(taken[way]) for way in ("loop", "sliced-loop", "scan", "newton"))
    medians = {way: f"{np.median(times) * 1e3:.3g} ms" for way, times in taken.items()}
    conditions = {"length": config.speed_length, "hidden_dim": config.speed_dim, "batch": 1, **medians}
    ratios = (
        f"against a loop over inputs sliced beforehand {np.median(sliced / parallel):.3g}x, "
        f"against lax.scan {np.median(scan / parallel):.3g}x"
    )
    return {
        f"speedup.loop.{key}": Outcome(loop / parallel, None, loop / np.roll(loop, 1), conditions, ratios),
        f"speedup.scan.{key}": Outcome(scan / parallel, None, scan / loop, conditions),
    }
