"""The parts of a layer that work on each token alone: dense, or a mixture of experts."""

import math
from dataclasses import dataclass

from workbench.hardware import _checks
from workbench.hardware._mixers import Shapes, matrix_flops


@dataclass(frozen=True)
class FeedForward:
    """A dense feed-forward network: down(act(up x)), or gated, down(act(gate x) * up x), inner_dim wide.

    Raises ValueError for inner_dim < 1.
    """

    inner_dim: int
    gated: bool = True
    bias: bool = False

    def __post_init__(self) -> None:
        _checks.fields(self, {"inner_dim": 1}, ("gated", "bias"))

    def tensors(self, hidden_dim: int) -> Shapes:
        """Name → shape of each weight, matrices as (out, in)."""
        shapes: Shapes = {}
        for name in ("gate", "up") if self.gated else ("up",):
            shapes[f"{name}.weight"] = (self.inner_dim, hidden_dim)
            if self.bias:
                shapes[f"{name}.bias"] = (self.inner_dim,)
        shapes["down.weight"] = (hidden_dim, self.inner_dim)
        if self.bias:
            shapes["down.bias"] = (hidden_dim,)
        return shapes

    def idle_parameters(self, hidden_dim: int) -> int:
        """Weights that a token does not use: none."""
        return 0

    def flops_per_token(self, hidden_dim: int) -> int:
        """Forward operations for one token: 2 a weight of the matrices."""
        return matrix_flops(self.tensors(hidden_dim))

    def __str__(self) -> str:
        return f"{'gated' if self.gated else 'plain'}, {self.inner_dim} wide"


@dataclass(frozen=True)
class MixtureOfExperts:
    """`experts` feed-forward networks of inner_dim, of which a router picks `active` for each token.

    `shared_inner_dim` is the width of what every token passes besides, all shared experts together (0: none);
    `shared_gate` weighs it by one more row. `router_bias` is one number an expert, to balance their load.

    Raises ValueError for numbers below 1 (shared_inner_dim: 0) and for more active than there are.
    """

    experts: int
    active: int
    inner_dim: int
    gated: bool = True
    shared_inner_dim: int = 0
    shared_gate: bool = False
    router_bias: bool = False

    def __post_init__(self) -> None:
        least = {"experts": 1, "active": 1, "inner_dim": 1, "shared_inner_dim": 0}
        _checks.fields(self, least, ("gated", "shared_gate", "router_bias"))
        if self.active > self.experts:
            raise ValueError(f"active: {self.active}, must be at most experts, {self.experts}")
        if self.shared_gate and not self.shared_inner_dim:
            raise ValueError("shared_gate: True, must be False where shared_inner_dim is 0")

    def tensors(self, hidden_dim: int) -> Shapes:
        """Name → shape of each weight; those of the experts are stacked, (experts, out, in)."""
        shapes: Shapes = {"router.weight": (self.experts, hidden_dim)}
        if self.router_bias:
            shapes["router.bias"] = (self.experts,)
        one = FeedForward(self.inner_dim, self.gated).tensors(hidden_dim)
        shapes |= {f"experts.{name}": (self.experts, *shape) for name, shape in one.items()}
        if self.shared_inner_dim:
            shared = FeedForward(self.shared_inner_dim, self.gated).tensors(hidden_dim)
            shapes |= {f"shared.{name}": shape for name, shape in shared.items()}
        if self.shared_gate:
            shapes["shared_gate.weight"] = (1, hidden_dim)
        return shapes

    def idle_parameters(self, hidden_dim: int) -> int:
        """Weights that a token does not use: those of the experts not picked."""
        return (self.experts - self.active) * self._expert(hidden_dim)

    def flops_per_token(self, hidden_dim: int) -> int:
        """Forward operations for one token: 2 a weight of the router, the shared and the active experts' matrices."""
        return matrix_flops(self.tensors(hidden_dim)) + 2 * self.active * self._expert(hidden_dim)

    def _expert(self, hidden_dim: int) -> int:
        return sum(math.prod(shape) for shape in FeedForward(self.inner_dim, self.gated).tensors(hidden_dim).values())

    def __str__(self) -> str:
        shared = f", {self.shared_inner_dim} shared" if self.shared_inner_dim else ""
        return f"{self.active} of {self.experts} experts of {self.inner_dim}{shared}"
