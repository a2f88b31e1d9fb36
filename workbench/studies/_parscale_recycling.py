"""Recycling a pretrained model: SmolLM2-135M frozen, prefixes and aggregation learned on Python's sources.

Prefixes start as the keys and values of real code, for one stream as for two: what is compared is the second stream.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from workbench import data, lm
from workbench.studies._parscale_training import Arm, judge, order, train
from workbench.study import Outcome, mean_interval

MODEL = "smollm2-135m"
ARMS = {"prefix": Arm(freeze=True), "P = 2": Arm(2, freeze=True)}


@dataclasses.dataclass(frozen=True)
class Budget:
    """What each arm gets; the rate is the best of 3e-3, 1e-2 and 3e-2 for seed 0, which is not judged."""

    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    batch: int = 2
    length: int = 64
    steps: int = 15
    prefix_tokens: int = 48
    windows: int = 32
    rate: float = 1e-2
    limit_bytes: int = 1_000_000


def run(budget: Budget, log: Any, tell: Callable[[str], None]) -> dict[str, Outcome]:
    """Both arms, trained and judged; the frozen model is the third."""
    model = lm.load(MODEL)
    assert model.tokenizer is not None
    sources, others = (data.stdlib_text(split=part, limit_bytes=budget.limit_bytes) for part in ("train", "test"))
    stream = lm.Windows(sources, budget.batch, budget.length, model.tokenizer)
    held = lm.held_out(others, length=budget.length, windows=budget.windows, tokenizer=model.tokenizer)
    drawn = lm.Windows(sources, 2, budget.prefix_tokens, model.tokenizer)
    prompts = lambda seed: np.asarray(drawn(10_000 + seed, 0).tokens)
    frozen = float(lm.evaluate(model, held).loss)
    losses, starts = {}, {}
    for name, arm in ARMS.items():
        begin = lambda seed, arm=arm: arm.begin(model, prompts(seed), jax.random.key(seed))
        title = f"{MODEL}, {name}"
        run = train(begin, stream, budget.steps, budget.rate, budget.seeds, log, title)
        starts[name] = np.asarray([float(lm.evaluate(begin(seed), held).loss) for seed in budget.seeds])
        losses[name] = judge(run, held, log, title)
        tell(title)
    told: dict[str, Any] = {"tokens a seed": budget.batch * budget.length * budget.steps, "loss, frozen": frozen}
    told |= {f"loss, {name}": mean_interval(values).words(4) for name, values in losses.items()}
    told |= {f"loss before training, {name}": mean_interval(values).words(4) for name, values in starts.items()}
    every = {"P = 2": losses["P = 2"], "prefix": losses["prefix"], "frozen": np.full(len(budget.seeds), frozen)}
    return {"train.recycled.smollm2": order(every, told)}
