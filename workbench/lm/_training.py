"""What training returns: parameters of every seed, the history, and how to judge and draw them."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import numpy as np

from workbench import display
from workbench.lm._config import Config
from workbench.lm._loss import Scores, evaluate_each
from workbench.lm._model import Model


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Training:
    """What a training run gives: the models and `history`, (seeds, steps) each.

    `trained` holds what training changed, with a leading axis of seeds, `fixed` what all seeds share (see
    `lm.partition`); `model(seed)` is one of the models.

    history: "loss" (nats, z-loss included), "gradient_norm" (before clipping), and of models with a recurrence
    "iterations" and "residual" (largest over layers and sequences) and "converged" (the share of them).
    """

    seeds: tuple[int, ...]
    trained: Model
    fixed: Model
    history: dict[str, np.ndarray]

    @property
    def steps(self) -> int:
        """The optimiser steps made."""
        return self.history["loss"].shape[1] if self.history else 0

    @property
    def finite(self) -> np.ndarray:
        """Whether each seed's loss stayed finite to the end, (seeds,)."""
        return np.asarray(np.isfinite(self.history["loss"]).all(-1))

    @property
    def config(self) -> Config:
        """That of the models."""
        return self.fixed.config

    def model(self, seed: int) -> Model:
        """The model of one seed. Raises ValueError for a seed that was not trained."""
        if seed not in self.seeds:
            raise ValueError(f"seed: {seed}, must be one of {self.seeds}")
        return eqx.combine(jax.tree.map(lambda a: a[self.seeds.index(seed)], self.trained), self.fixed)

    def evaluate(self, batches: Any) -> Scores:
        """Loss and accuracy of every seed's model on the same batches, (seeds,) each."""
        return evaluate_each(self.trained, self.fixed, batches)

    def plot(self) -> Any:
        """The loss by step, one line a seed (HoloViews)."""
        hv = display.holoviews()
        step = np.arange(1, self.history["loss"].shape[1] + 1)
        lines = [
            hv.Curve((step, each), "step", "loss", label=f"seed {seed}").opts(color=display.PALETTE["measured"])
            for seed, each in zip(self.seeds, self.history["loss"], strict=True)
        ]
        return hv.Overlay(lines).opts(hv.opts.Overlay(ylabel="loss (nats)", show_legend=len(lines) > 1))

    def _facts(self) -> dict[str, str]:
        last = self.history["loss"][:, -20:].mean(-1)
        return {
            "mixer": str(self.config.mixer),
            "parameters": f"{self.model(self.seeds[0]).parameters:,}",
            "seeds": str(len(self.seeds)),
            "steps": f"{self.steps:,}",
            "loss, last 20 steps": " ".join(display.number(value) for value in last),
        }

    def __repr__(self) -> str:
        return "Training(" + ", ".join(f"{name}: {value}" for name, value in self._facts().items()) + ")"

    def _repr_html_(self) -> str:
        return display.card("Training", self._facts())
