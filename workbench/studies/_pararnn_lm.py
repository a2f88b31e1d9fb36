"""Language models of bytes at one budget, and what a fixed number of Newton iterations does to training.

Every model has about the same parameters, sees the same windows in the same order, and is judged on the same held-out
files. The broken twin is judged against bytes that belong to other windows.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from workbench import data, lm, rnn

MIXERS = {
    "ParaGRU": lm.Recurrent(rnn.ParaGRU, heads=4, clip_at=0.5),
    "ParaLSTM": lm.Recurrent(rnn.ParaLSTM, heads=4, clip_at=0.5),
    "linear GRU": lm.Recurrent(rnn.LinearGRU, heads=4),
    "Mamba2": lm.SSD(heads=4, state_dim=16),
    "Transformer": lm.Attention(heads=4),
}
ITERATIONS = (1, 2, 3, 4)  # of Newton, for the training curves; 0 stands for the exact solution


@dataclasses.dataclass(frozen=True)
class Budget:
    """What every model gets: its size, and the bytes it sees."""

    layers: int = 4
    hidden_dim: int = 128
    batch: int = 16
    length: int = 128
    steps: int = 150
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


def train(
    budget: Budget,
    mixer: lm.AbstractMixer,
    seeds: Sequence[int],
    report: Callable[[lm.Training], None],
    folder: Path | None = None,
) -> Compared:
    """Train one model a seed on the standard library's sources, and judge it on files it has not seen."""
    config = budget.config(mixer)
    run = lm.train(
        config,
        lm.Windows(data.stdlib_text(split="train"), budget.batch, budget.length),
        budget.steps,
        optimiser=budget.optimiser,
        seeds=seeds,
        steps_per_call=10,
        progress=report,
        folder=folder,
    )
    batch = lm.next_byte(data.stdlib_text(split="test").windows(budget.length + 1, 128, seed=0))
    others = batch._replace(labels=np.roll(batch.labels, 1, 0))
    bits, control = (run.evaluate(b).bits for b in (batch, others))
    return Compared(bits, control, lm.count_parameters(config), run)


def with_iterations(count: int) -> lm.Recurrent:
    """ParaGRU solved by exactly `count` Newton iterations, or exactly (0)."""
    solver = rnn.Newton(steps=count) if count else rnn.Sequential()
    return dataclasses.replace(MIXERS["ParaGRU"], solver=solver)
