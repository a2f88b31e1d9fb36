"""Seconds of one layer under two roofs, part by part, as the published cost script takes them from llm-analysis."""

import math
from dataclasses import dataclass
from typing import Any

from workbench import hardware
from workbench.hardware import Attention, DeviceSpec, FeedForward

FLOPS_EFFICIENCY, BANDWIDTH_EFFICIENCY = 0.7, 0.9
"""Shares of the data sheet's rates that are reached (published script, as llm-analysis recommends)."""

DTYPE_BYTES = 2  # weights, cache and activations in 16 bits
_NORM_BYTES = 4  # of an element that a norm reads, in 32 bits (llm-analysis)
_NORM_FLOPS = 5  # operations of a norm for an element (llm-analysis)


@dataclass(frozen=True)
class LayerRoofs:
    """Each part takes max(FLOPs / rate, bytes / bandwidth); its bytes are its weights and its largest activation."""

    hidden_dim: int
    attention: Attention
    feed_forward: FeedForward
    device: DeviceSpec
    dtype: str
    flops_efficiency: float
    bandwidth_efficiency: float

    def seconds(self, flops: Any, moved: Any) -> Any:
        """Seconds of so many operations and bytes."""
        return hardware.roofline(
            flops,
            moved,
            self.device,
            dtype=self.dtype,
            flops_efficiency=self.flops_efficiency,
            bandwidth_efficiency=self.bandwidth_efficiency,
        ).seconds

    @property
    def mlp_weights(self) -> int:
        """Weights of the feed-forward."""
        return _weights(self.feed_forward, self.hidden_dim)

    @property
    def attention_width(self) -> int:
        """Numbers a token that attention holds at once: q, k and v, or a fused kernel's output and running sums."""
        return max(3 * self.hidden_dim, 2 * self.hidden_dim + 4 * self.attention.heads)

    @property
    def mlp_width(self) -> int:
        """Numbers a token that the feed-forward holds at once."""
        return max(self.hidden_dim, self.feed_forward.inner_dim)

    @property
    def width(self) -> int:
        """Numbers a token that a layer holds at once."""
        return max(self.attention_width, self.mlp_width)

    def attention_s(self, rows: Any, tokens: Any) -> Any:
        """Attention over `rows` of `tokens` that all see one another; a cache that is read is not counted here."""
        weights, positions = _weights(self.attention, self.hidden_dim), rows * tokens
        flops = positions * (2 * weights + self.attention.mixing_flops(tokens))
        return self.seconds(flops, DTYPE_BYTES * (weights + positions * self.attention_width))

    def mlp_s(self, positions: Any) -> Any:
        """The feed-forward on so many positions."""
        flops, moved = 2 * positions * self.mlp_weights, self.mlp_weights + positions * self.mlp_width
        return self.seconds(flops, DTYPE_BYTES * moved)

    def norm_s(self, positions: Any) -> Any:
        """One norm."""
        elements = positions * self.hidden_dim
        return self.seconds(_NORM_FLOPS * elements, _NORM_BYTES * elements)

    def all_s(self, rows: Any, tokens: Any) -> Any:
        """The whole layer: attention, feed-forward and two norms, one after another."""
        return self.attention_s(rows, tokens) + self.mlp_s(rows * tokens) + 2 * self.norm_s(rows * tokens)


def _weights(part: Attention | FeedForward, hidden_dim: int) -> int:
    return sum(math.prod(shape) for shape in part.tensors(hidden_dim).values())
