"""The optimiser as a value: AdamW with its schedule, clipping and z-loss."""

import dataclasses
from typing import Any, Literal

import jax
import numpy as np
import optax
from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay (arXiv 1711.05101) and its learning-rate schedule, clipping and z-loss.

    The rate rises linearly over the first `warmup` (a share of the steps), then falls to 0 along half a cosine, or
    stays ("constant"). Gradients are scaled down to a global norm of `clip_norm` at most (None: never). Weight decay
    acts on matrices, not on gains and biases. The paper's: warm-up 10 %, cosine, z-loss 1e-4. Raises ValueError.
    """

    learning_rate: float = 3e-3
    warmup: float = 0.1
    decay: Literal["cosine", "constant"] = "cosine"
    weight_decay: float = 0.0
    clip_norm: float | None = 1.0
    z_loss: float = 0.0
    betas: tuple[float, float] = (0.9, 0.95)

    def __post_init__(self) -> None:
        for name, good in (
            ("learning_rate", self.learning_rate > 0),
            ("warmup", 0 <= self.warmup < 1),
            ("weight_decay", self.weight_decay >= 0),
            ("clip_norm", self.clip_norm is None or self.clip_norm > 0),
            ("z_loss", self.z_loss >= 0),
            ("betas", len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas)),
            ("decay", self.decay in ("cosine", "constant")),
        ):
            if not good:
                raise ValueError(f"{name}: {getattr(self, name)!r}, must be {_BOUNDS[name]}")

    def rates(self, steps: int) -> Float[np.ndarray, " steps"]:
        """The learning rate of each step."""
        step, rise = np.arange(1, steps + 1), round(self.warmup * steps)
        rates = np.minimum(step / max(rise, 1), 1.0)
        if self.decay == "cosine":
            rates = rates * np.where(step <= rise, 1, 0.5 + 0.5 * np.cos(np.pi * (step - rise) / max(steps - rise, 1)))
        return (self.learning_rate * rates).astype(np.float32)

    def without_rate(self) -> "AdamW":
        """What the compiled step depends on: the rates are data, so that another rate or schedule compiles nothing."""
        return dataclasses.replace(self, learning_rate=1.0, warmup=0.0, decay="constant")

    def transform(self) -> optax.GradientTransformation:
        """The update before it is scaled by -rate."""
        clip = optax.identity() if self.clip_norm is None else optax.clip_by_global_norm(self.clip_norm)
        decay = optax.add_decayed_weights(self.weight_decay, mask=_matrices) if self.weight_decay else optax.identity()
        return optax.chain(clip, optax.scale_by_adam(*self.betas), decay)


_BOUNDS = {
    "learning_rate": "greater than 0",
    "warmup": "in [0, 1)",
    "weight_decay": "at least 0",
    "clip_norm": "None or greater than 0",
    "z_loss": "at least 0",
    "betas": "two numbers in [0, 1)",
    "decay": "'cosine' or 'constant'",
}


def _matrices(model: Any) -> Any:
    """Which leaves are matrices: two axes or more, the one of stacked layers aside."""

    def is_matrix(path: tuple, leaf: Any) -> bool:
        stacked = any(getattr(key, "key", getattr(key, "name", None)) in ("layers", "prefix") for key in path)
        return leaf.ndim - stacked >= 2

    return jax.tree_util.tree_map_with_path(is_matrix, model)
