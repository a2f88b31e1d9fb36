"""What one layer of each kind can learn: the synthetic tasks of ParaRNN, a setting a task, every model by the same one.

A layer is trained from five seeds side by side and judged on strings that no seed has seen. Its broken twin is judged
against the answers to other strings, which no model can know.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from workbench import lm, rnn
from workbench.lm import tasks

HELD_OUT = 256  # strings that decide; as many others tell when training may stop


@dataclasses.dataclass(frozen=True)
class Setting:
    """How a task is trained: strings of `length`, or a curriculum ((first step, length), ...), for `steps` at most."""

    task: tasks.AbstractTask
    length: int | tuple[tuple[int, int], ...]
    steps: int
    batch: int = 16
    hidden_dim: int = 64
    learning_rate: float = 3e-3
    bare: bool = True

    @property
    def longest(self) -> int:
        """The length of the last strings, which the result is about."""
        return self.length if isinstance(self.length, int) else self.length[-1][1]


MODELS = {
    "dense GRU": lm.Recurrent(rnn.GRU),
    "dense LSTM": lm.Recurrent(rnn.LSTM),
    "ParaLSTM": lm.Recurrent(rnn.ParaLSTM),
    "ParaGRU": lm.Recurrent(rnn.ParaGRU),
    "linear GRU": lm.Recurrent(rnn.LinearGRU),
    "Mamba2": lm.SSD(heads=4, state_dim=16),
    "Transformer": lm.Attention(heads=4),
}


@dataclasses.dataclass(frozen=True)
class Learned:
    """Accuracy in % of each seed on held-out strings, and against the answers to other strings; the steps trained."""

    accuracy: np.ndarray
    control: np.ndarray
    steps: int


def learn(
    setting: Setting,
    mixer: lm.AbstractMixer,
    seeds: Sequence[int],
    report: Callable[[int, np.ndarray], None],
    folder: Path | None = None,
) -> Learned:
    """Train one layer a seed until all held-out answers are right, or to the end; `report(step, accuracy in %)`."""
    task, length = setting.task, setting.longest
    config = lm.Config(
        task.vocab, 1, setting.hidden_dim, mixer, mlp_dim=0, classes=task.classes, bare=setting.bare and mixer.gated
    )
    validation, test = (task.held_out(HELD_OUT, length, seed=seed) for seed in (1, 2))

    def look(run: lm.Training) -> bool:
        accuracy = 100 * run.evaluate(validation).accuracy
        report(run.steps, accuracy)
        return bool(accuracy.min() == 100)

    run = lm.train(
        config,
        tasks.Samples(task, setting.batch, setting.length),
        setting.steps,
        optimiser=lm.AdamW(setting.learning_rate, warmup=0.0, decay="constant", betas=(0.9, 0.999)),
        seeds=seeds,
        progress=look,
        folder=folder,
    )
    others = lm.Batch(test.tokens, np.roll(test.labels, 1, 0), test.mask & np.roll(test.mask, 1, 0))
    return Learned(100 * run.evaluate(test).accuracy, 100 * run.evaluate(others).accuracy, run.steps)
