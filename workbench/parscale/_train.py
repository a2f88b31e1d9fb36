"""The two-stage recipe: a model trained as usual, then a short second stage with parallel streams."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from workbench import lm
from workbench.parscale._wrap import wrap


@dataclasses.dataclass(frozen=True)
class Stages:
    """Both stages: `first` with one stream (None where a model was given), `second` with all."""

    first: lm.Training | None
    second: lm.Training

    def model(self, seed: int) -> lm.Model:
        """The model of one seed after the second stage."""
        return self.second.model(seed)

    def plot(self) -> Any:
        """The loss of the second stage, one line a seed (HoloViews)."""
        return self.second.plot()


def train(
    start: lm.Config | lm.Model,
    stream: Any,
    *,
    streams: int,
    steps: tuple[int, int],
    first: lm.AdamW | None = None,
    second: lm.AdamW | None = None,
    seeds: Sequence[int] = (0,),
    freeze: bool = False,
    folder: str | Path | None = None,
    progress: Any = None,
    steps_per_call: int = 50,
    **wrapped: Any,
) -> Stages:
    """Train a model with one stream for steps[0] at a constant rate, then with `streams` for steps[1] at a falling one.

    The second stage starts from the first one's weights, seed by seed, with fresh prefixes and aggregation (`wrapped`
    goes to `parscale.wrap`), and sees batches that the first has not seen. `freeze` leaves the backbone as it is: with
    a model to start from, and steps[0] = 0, that is recycling. `first` and `second` default to AdamW with constant rate
    3e-3 and with a cosine. streams = 1 goes on with the plain model: the control at equal steps.
    Source: ParScale (arXiv 2505.10475), section 4. Raises ValueError like `lm.train` and `parscale.wrap`.
    """
    if len(steps) != 2 or steps[0] < 0 or steps[1] < 1:
        raise ValueError(f"steps: {steps!r}, must be two numbers, of the first (0: none) and of the second stage")
    if steps[0] == 0 and isinstance(start, lm.Config) and freeze:
        raise ValueError("freeze: True, must be False: there are no weights yet")
    first = lm.AdamW(decay="constant") if first is None else first
    second = lm.AdamW(warmup=0.05) if second is None else second
    part = lambda name: None if folder is None else Path(folder) / name
    how: dict[str, Any] = {"seeds": seeds, "progress": progress, "steps_per_call": steps_per_call}
    one = lm.train(start, stream, steps[0], optimiser=first, folder=part("first"), **how) if steps[0] else None

    def begin(seed: int) -> lm.Model:
        key = jax.random.key(seed)
        base = one.model(seed) if one else lm.init(start, key) if isinstance(start, lm.Config) else start
        return wrap(base, streams=streams, key=jax.random.fold_in(key, streams), freeze=freeze, **wrapped)

    two = lm.train(begin, lm.Later(stream, steps[0]), steps[1], optimiser=second, folder=part("second"), **how)
    return Stages(one, two)
