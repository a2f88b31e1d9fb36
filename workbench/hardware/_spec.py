"""A language model as numbers: what it weighs, what it keeps of the past, what a token costs."""

import dataclasses
import functools
import math
import os
from collections.abc import Mapping
from typing import Any

from workbench import display
from workbench.hardware import _checks
from workbench.hardware._feed_forward import FeedForward, MixtureOfExperts
from workbench.hardware._mixers import (
    Attention,
    LatentAttention,
    LinearAttention,
    Mixer,
    Shapes,
    StateSpace,
    matrix_flops,
)

_NORMS = {"rms": ("weight",), "layer": ("weight", "bias")}
_MIXERS = (Attention, LatentAttention, LinearAttention, StateSpace)


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """A decoder-only language model.

    Layer i mixes tokens by mixers[i % len(mixers)] and then, for each token alone, applies `feed_forward` (None:
    nothing); the first `dense_layers` layers have `dense_feed_forward` in its place. A layer has `norms_per_layer`
    norms of the hidden width ("rms": a weight, "layer": a weight and a bias), and one more follows the last layer. With
    `tied_embeddings` the head is the embedding. `learned_positions` is the rows of a table of positions, 0 for none.
    `context_tokens` is the longest context it was made for, None where not stated.

    Raises ValueError that names the field for what is not possible.
    """

    name: str
    vocab: int
    hidden_dim: int
    layers: int
    mixers: tuple[Mixer, ...]
    feed_forward: FeedForward | MixtureOfExperts | None
    dense_layers: int = 0
    dense_feed_forward: FeedForward | None = None
    tied_embeddings: bool = False
    norm: str = "rms"
    norms_per_layer: int = 2
    learned_positions: int = 0
    context_tokens: int | None = None

    def __post_init__(self) -> None:
        least = {"vocab": 1, "hidden_dim": 1, "layers": 1, "dense_layers": 0, "norms_per_layer": 0}
        _checks.fields(self, least | {"learned_positions": 0, "context_tokens": 1}, ("tied_embeddings",))
        self._check_parts()

    def _check_parts(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"name: {self.name!r}, must be a text that is not empty")
        if self.norm not in _NORMS:
            raise ValueError(f"norm: {self.norm!r}, must be one of {', '.join(_NORMS)}")
        kinds = isinstance(self.mixers, tuple) and all(isinstance(m, _MIXERS) for m in self.mixers)
        if not kinds or not 1 <= len(self.mixers) <= self.layers:
            known = ", ".join(kind.__name__ for kind in _MIXERS)
            raise ValueError(f"mixers: {self.mixers!r}, must be a tuple of 1 to {self.layers} of {known}")
        if not isinstance(self.feed_forward, FeedForward | MixtureOfExperts | None):
            told = "must be FeedForward, MixtureOfExperts or None"
            raise ValueError(f"feed_forward: {self.feed_forward!r}, {told}")  # noqa: TRY004
        if self.dense_layers > self.layers:
            raise ValueError(f"dense_layers: {self.dense_layers}, must be at most layers, {self.layers}")
        if isinstance(self.dense_feed_forward, FeedForward) != (self.dense_layers > 0):
            told = f"must be {'a FeedForward' if self.dense_layers else 'None'}"
            where = f"where dense_layers is {self.dense_layers}"
            raise ValueError(f"dense_feed_forward: {self.dense_feed_forward!r}, {told} {where}")

    @classmethod
    def from_hf(cls, config: Mapping[str, Any] | str | os.PathLike, name: str | None = None) -> "ModelSpec":
        """The specification of a `config.json` as Hugging Face keeps it: the mapping, the file, or its folder.

        Of a model that also sees, the language part. `name` defaults to the config's own, else to its model_type.
        Raises ValueError for a model_type that is not known here, a key that is missing, and a setting whose weights
        would not be counted.
        """
        from workbench.hardware._hf import read

        return cls(**read(config, name))

    def mixer(self, layer: int) -> Mixer:
        """What mixes tokens in layer 0, 1, …"""
        return self.mixers[layer % len(self.mixers)]

    def feed_forward_of(self, layer: int) -> FeedForward | MixtureOfExperts | None:
        """What works on each token alone in layer 0, 1, …"""
        return self.dense_feed_forward if layer < self.dense_layers else self.feed_forward

    def layer_tensors(self, layer: int) -> Shapes:
        """Name → shape of each weight of one layer."""
        shapes = {f"mixer.{name}": shape for name, shape in self.mixer(layer).tensors(self.hidden_dim).items()}
        if (feed_forward := self.feed_forward_of(layer)) is not None:
            own = feed_forward.tensors(self.hidden_dim)
            shapes |= {f"feed_forward.{name}": shape for name, shape in own.items()}
        for i in range(self.norms_per_layer):
            shapes |= {f"norm_{i}.{part}": (self.hidden_dim,) for part in _NORMS[self.norm]}
        return shapes

    def tensors(self) -> Shapes:
        """Name → shape of every weight, matrices as (out, in); `parameters` is the sum over these."""
        shapes: Shapes = {"embedding.weight": (self.vocab, self.hidden_dim)}
        if self.learned_positions:
            shapes["positions.weight"] = (self.learned_positions, self.hidden_dim)
        for layer in range(self.layers):
            shapes |= {f"layers.{layer}.{name}": shape for name, shape in self.layer_tensors(layer).items()}
        shapes |= {f"norm.{part}": (self.hidden_dim,) for part in _NORMS[self.norm]}
        if not self.tied_embeddings:
            shapes["head.weight"] = (self.vocab, self.hidden_dim)
        return shapes

    @functools.cached_property
    def parameters(self) -> int:
        """All weights: the sum over the shapes of `tensors()`."""
        return sum(math.prod(shape) for shape in self.tensors().values())

    @functools.cached_property
    def active_parameters(self) -> int:
        """Weights that one token uses: all but those of the experts that its routers do not pick."""
        parts = (self.feed_forward_of(layer) for layer in range(self.layers))
        return self.parameters - sum(part.idle_parameters(self.hidden_dim) for part in parts if part is not None)

    @property
    def embedding_parameters(self) -> int:
        """Weights of the embedding, the head where it is not tied, and the learned positions."""
        tables = 1 if self.tied_embeddings else 2
        return (tables * self.vocab + self.learned_positions) * self.hidden_dim

    def weight_bytes(self, dtype_bytes: float = 2) -> float:
        """Bytes of all weights, dtype_bytes each (0.5: four bits). Raises ValueError for a negative number."""
        _checks.real("dtype_bytes", dtype_bytes)
        return self.parameters * dtype_bytes

    def kv_cache_bytes(self, tokens: float, batch: float = 1, dtype_bytes: float = 2) -> float:
        """Bytes kept of the past for `batch` sequences of `tokens` each, summed over the layers.

        Keys and values 2 kv_heads head_dim a token, for at most the window; a latent vector and its rotary key;
        a state that does not grow. Averages may be fractions. Raises ValueError for a negative number.
        """
        for name, value in (("tokens", tokens), ("batch", batch), ("dtype_bytes", dtype_bytes)):
            _checks.real(name, value)
        return batch * dtype_bytes * sum(self.mixer(layer).cache_elements(tokens) for layer in range(self.layers))

    def flops_per_token(self, context: float, *, head: bool = True, absorbed: bool = False) -> float:
        """Forward operations for one token that sees `context` tokens, itself among them; a multiply-add is two.

        2 a weight of the matrices it uses (the head's too, unless `head` is False), and what mixes tokens: for
        attention 4 heads head_dim min(context, window). Norms, activations and look-ups are left out. `absorbed` reads
        a latent cache as it is. A prompt of n tokens costs n times the value at (n + 1) / 2, if no window is shorter.
        Raises ValueError for context < 1.
        """
        _checks.real("context", context, 1)
        total: float = 2 * self.vocab * self.hidden_dim if head else 0
        for layer in range(self.layers):
            mixer, feed_forward = self.mixer(layer), self.feed_forward_of(layer)
            total += matrix_flops(mixer.tensors(self.hidden_dim)) + mixer.mixing_flops(context, absorbed)
            total += 0 if feed_forward is None else feed_forward.flops_per_token(self.hidden_dim)
        return total

    def _facts(self) -> dict[str, str]:
        active = self.active_parameters
        parts = dict.fromkeys(str(self.feed_forward_of(layer)) for layer in range(self.layers))
        return {
            "parameters": display.number(self.parameters / 1e9) + " · 10⁹",
            **({} if active == self.parameters else {"active": display.number(active / 1e9) + " · 10⁹"}),
            "layers": f"{self.layers} of width {self.hidden_dim}",
            "mixers": "; ".join(dict.fromkeys(str(m) for m in self.mixers)),
            **({} if self.feed_forward is None else {"feed-forward": "; ".join(parts)}),
            "vocabulary": f"{self.vocab}{', tied' if self.tied_embeddings else ''}",
        }

    def __str__(self) -> str:
        return f"{self.name}: " + ", ".join(f"{name} {value}" for name, value in self._facts().items())

    def _repr_html_(self) -> str:
        return display.card(self.name, self._facts())
