"""Language models of bytes at one budget, and what a fixed number of Newton iterations does to training.

Every model has about the same parameters, sees the same windows in the same order, and is judged on the same held-out
files. The broken twin is judged against bytes that belong to other windows.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from workbench import data, lm, rnn
from workbench.study import Outcome, mean_interval

CLIPPED = partial(lm.Recurrent, heads=4, clip_at=0.5)  # the paper's recipe for language models
MIXERS = {
    "ParaGRU": CLIPPED(rnn.ParaGRU),
    "ParaLSTM": CLIPPED(rnn.ParaLSTM),
    "linear GRU": lm.Recurrent(rnn.LinearGRU, heads=4),
    "Mamba2": lm.SSD(heads=4, state_dim=16),
    "Transformer": lm.Attention(heads=4),
}
ITERATIONS = (1, 2, 3, 4)  # of Newton, for the training curves
EVERY = 10  # optimiser steps a compiled call, and between two points that are logged


@dataclasses.dataclass(frozen=True)
class Budget:
    """What every model gets: its size, and the bytes it sees."""

    layers: int = 4
    hidden_dim: int = 128
    batch: int = 16
    length: int = 128
    steps: int = 130
    learning_rate: float = 4e-3

    def config(self, mixer: lm.AbstractMixer) -> lm.Config:
        return lm.Config(256, self.layers, self.hidden_dim, mixer)

    @property
    def optimiser(self) -> lm.AdamW:
        """The paper's recipe: warm-up of 10 %, cosine to zero, z-loss 1e-4, weight decay 1e-4."""
        return lm.AdamW(self.learning_rate, weight_decay=1e-4, z_loss=1e-4)


@dataclasses.dataclass(frozen=True)
class Compared:
    """Of one model: bits a byte by seed on held-out files, and on bytes of other windows; its parameters."""

    bits: np.ndarray
    control: np.ndarray
    parameters: int
    run: lm.Training


def train(budget: Budget, mixer: lm.AbstractMixer, seeds: Sequence[int], log: Any, title: str) -> Compared:
    """Train one model a seed on the standard library's sources, and judge it on files it has not seen.

    Logs loss, iterations and residual of every tenth step under `title`; goes on from where it was interrupted.
    """
    told = 0

    def report(run: lm.Training) -> None:
        nonlocal told
        for step in range(told, run.steps, EVERY):
            last = slice(step, min(step + EVERY, run.steps))
            metrics = {name: run.history[name][:, last].mean(1) for name in run.history if name != "gradient_norm"}
            for name, values in metrics.items():
                log.log(step=last.stop, **{f"{title}/{name}/{s}": float(v) for s, v in zip(seeds, values, strict=True)})
        told = run.steps

    config = budget.config(mixer)
    run = lm.train(
        config,
        lm.Windows(data.stdlib_text(split="train"), budget.batch, budget.length),
        budget.steps,
        optimiser=budget.optimiser,
        seeds=seeds,
        steps_per_call=EVERY,
        progress=report,
        folder=log.folder(title),
    )
    batch = lm.next_token(data.stdlib_text(split="test").windows(budget.length + 1, 128, seed=0))
    others = batch._replace(labels=np.roll(batch.labels, 1, 0))
    bits, control = (run.evaluate(b).bits for b in (batch, others))
    log.log(step=budget.steps, **{f"{title}/bits-per-byte/{s}": float(b) for s, b in zip(seeds, bits, strict=True)})
    return Compared(bits, control, lm.count_parameters(config), run)


def with_iterations(count: int) -> lm.Recurrent:
    """ParaGRU solved by exactly `count` Newton iterations."""
    return CLIPPED(rnn.ParaGRU, solver=rnn.Newton(steps=count))


def claims(budget: Budget, compared: Mapping[str, Compared]) -> dict[str, Outcome]:
    """The order of the models by bits a byte, and the iterations that the trained recurrences need.

    The broken twins: every model as bad as when it answers for other windows; Jacobi's iterations for Newton's.
    """
    order = ("Mamba2", "Transformer", "ParaLSTM", "ParaGRU")
    conditions = {
        "bytes": budget.batch * budget.length * budget.steps,
        **{f"parameters of {model}": found.parameters for model, found in compared.items()},
        **{f"bits a byte of {model}": mean_interval(found.bits).words(3) for model, found in compared.items()},
    }
    ours = {model: compared[model].bits for model in order}
    outcomes = {
        "lm.400m.order": Outcome(ours, None, dict(zip(order, reversed(ours.values()), strict=True)), conditions)
    }
    for model in ("ParaGRU", "ParaLSTM"):
        newton, jacobi = iterations_when_trained(compared[model], budget)
        outcomes[f"iterations.trained.{model.lower()}"] = Outcome(newton, None, jacobi, conditions)
    return outcomes


def truncation_claims(exact: Compared, by_iterations: Mapping[int, Compared]) -> dict[str, Outcome]:
    """How far training with three iterations ends from training with the exact solution; one iteration is the twin."""
    away = {k: np.abs(found.bits - exact.bits[: len(found.bits)]) for k, found in by_iterations.items()}
    note = "distance in bits a byte after training: " + ", ".join(f"K = {k}: {d.max():.2g}" for k, d in away.items())
    return {"iterations.training.paragru": Outcome(away[3], None, away[1], note=note)}


def iterations_when_trained(compared: Compared, budget: Budget) -> tuple[np.ndarray, np.ndarray]:
    """Newton iterations, and Jacobi's, that the recurrences of each trained model need on held-out text: (seeds,) each.

    The largest over layers and sequences; infinite where they do not get there.
    """
    batch = lm.next_token(data.stdlib_text(split="test").windows(budget.length + 1, 16, seed=1))
    counts = []
    for solver in (rnn.Newton(), rnn.Jacobi()):
        mixer = compared.run.config.mixer
        assert isinstance(mixer, lm.Recurrent)
        solved = dataclasses.replace(mixer, solver=solver, scan=rnn.TwoLevel())
        config = dataclasses.replace(compared.run.config, mixer=solved)
        models = [compared.run.model(seed).replace(config=config) for seed in compared.run.seeds]
        counts.append(np.asarray([_most(model, batch) for model in models]))
    return counts[0], counts[1]


def _most(model: lm.Model, batch: lm.Batch) -> float:
    stats = lm.forward(model, batch.tokens).stats
    assert stats is not None
    return float(stats.iterations.max()) if bool(stats.converged.all()) else float("inf")
