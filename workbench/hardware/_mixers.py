"""The parts of a layer that mix tokens: what they weigh, what they keep of the past, what they compute for a token."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from workbench.hardware import _checks

Shapes = dict[str, tuple[int, ...]]


def matrix_flops(tensors: Mapping[str, tuple[int, ...]]) -> int:
    """Forward operations for one token of all weight matrices among `tensors`: 2 a weight."""
    matrices = (s for name, s in tensors.items() if name.endswith(".weight") and len(s) == 2)
    return 2 * sum(math.prod(s) for s in matrices)


@dataclass(frozen=True)
class Attention:
    """Softmax attention: kv_heads = heads is multi-head, 1 multi-query, between them grouped-query.

    `head_dim` is stated, for heads * head_dim need not be the hidden width. With `window`, a token sees that many
    tokens, itself among them, and the cache holds no more. `qk_norm` norms each head's queries and keys (2 head_dim
    weights).

    Raises ValueError for a number below 1 and for heads that kv_heads does not divide.
    """

    heads: int
    kv_heads: int
    head_dim: int
    window: int | None = None
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: bool = False

    def __post_init__(self) -> None:
        least = dict.fromkeys(("heads", "kv_heads", "head_dim", "window"), 1)
        _checks.fields(self, least, ("qkv_bias", "output_bias", "qk_norm"))
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads: {self.kv_heads}, must divide heads, {self.heads}")

    def tensors(self, hidden_dim: int) -> Shapes:
        """Name → shape of each weight, matrices as (out, in)."""
        inner, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        shapes: Shapes = {}
        for name, rows in (("query", inner), ("key", kv), ("value", kv)):
            shapes[f"{name}.weight"] = (rows, hidden_dim)
            if self.qkv_bias:
                shapes[f"{name}.bias"] = (rows,)
        shapes["output.weight"] = (hidden_dim, inner)
        if self.output_bias:
            shapes["output.bias"] = (hidden_dim,)
        if self.qk_norm:
            shapes |= {"query_norm.weight": (self.head_dim,), "key_norm.weight": (self.head_dim,)}
        return shapes

    def seen(self, tokens: float) -> float:
        """How many of `tokens` the last of them attends to."""
        return tokens if self.window is None else min(tokens, self.window)

    def cache_elements(self, tokens: float) -> float:
        """Numbers kept for one sequence of `tokens`: 2 kv_heads head_dim min(tokens, window)."""
        return 2 * self.kv_heads * self.head_dim * self.seen(tokens)

    def mixing_flops(self, context: float, absorbed: bool = False) -> float:
        """Forward operations for one token besides weights': q·k and a·v, 4 heads head_dim min(context, window)."""
        return 4 * self.heads * self.head_dim * self.seen(context)

    def __str__(self) -> str:
        window = f", window {self.window}" if self.window else ""
        return f"{self.heads} heads, {self.kv_heads} for keys and values, of {self.head_dim}{window}"


@dataclass(frozen=True)
class LatentAttention:
    """Multi-head latent attention: keys and values come from one latent vector a token, which is all that is cached.

    A head's query and key have `nope_head_dim` numbers without and `rope_head_dim` with rotary phase (that key is
    shared by the heads), its value `value_head_dim`. `q_lora_rank` None projects queries directly.

    Source: DeepSeek-V2 (2024), section 2.1 and appendix C. Raises ValueError for a number below 1.
    """

    heads: int
    kv_lora_rank: int
    nope_head_dim: int
    rope_head_dim: int
    value_head_dim: int
    q_lora_rank: int | None = None

    def __post_init__(self) -> None:
        names = ("heads", "kv_lora_rank", "nope_head_dim", "rope_head_dim", "value_head_dim", "q_lora_rank")
        _checks.fields(self, dict.fromkeys(names, 1))

    def tensors(self, hidden_dim: int) -> Shapes:
        """Name → shape of each weight, matrices as (out, in)."""
        query = self.heads * (self.nope_head_dim + self.rope_head_dim)
        shapes: Shapes = {}
        if self.q_lora_rank is None:
            shapes["query.weight"] = (query, hidden_dim)
        else:
            shapes["query_down.weight"] = (self.q_lora_rank, hidden_dim)
            shapes["query_down_norm.weight"] = (self.q_lora_rank,)
            shapes["query_up.weight"] = (query, self.q_lora_rank)
        shapes["kv_down.weight"] = (self.kv_lora_rank + self.rope_head_dim, hidden_dim)
        shapes["kv_down_norm.weight"] = (self.kv_lora_rank,)
        shapes["kv_up.weight"] = (self.heads * (self.nope_head_dim + self.value_head_dim), self.kv_lora_rank)
        shapes["output.weight"] = (hidden_dim, self.heads * self.value_head_dim)
        return shapes

    def cache_elements(self, tokens: float) -> float:
        """Numbers kept for one sequence of `tokens`: (kv_lora_rank + rope_head_dim) tokens."""
        return (self.kv_lora_rank + self.rope_head_dim) * tokens

    def mixing_flops(self, context: float, absorbed: bool = False) -> float:
        """Forward operations for one token besides weights': 2 heads context (width of a key + width of a value).

        Those widths are nope + rope and value, or, `absorbed` (the up-projections moved to the query and the output, so
        that the cache is read as it is), kv_lora_rank + rope and kv_lora_rank. The weights' work is the same.
        """
        expanded = self.nope_head_dim + self.rope_head_dim + self.value_head_dim
        widths = 2 * self.kv_lora_rank + self.rope_head_dim if absorbed else expanded
        return 2 * self.heads * context * widths

    def __str__(self) -> str:
        return f"{self.heads} latent heads, {self.kv_lora_rank} + {self.rope_head_dim} numbers cached a token"


@dataclass(frozen=True)
class LinearAttention:
    """Linear attention: a head keeps a state of key_head_dim x value_head_dim numbers, S_t = S_{t-1} + k_t v_t'.

    Raises ValueError for a number below 1.
    """

    heads: int
    key_head_dim: int
    value_head_dim: int

    def __post_init__(self) -> None:
        _checks.fields(self, dict.fromkeys(("heads", "key_head_dim", "value_head_dim"), 1))

    def tensors(self, hidden_dim: int) -> Shapes:
        """Name → shape of each weight, matrices as (out, in)."""
        key, value = self.heads * self.key_head_dim, self.heads * self.value_head_dim
        shapes: Shapes = {f"{name}.weight": (key, hidden_dim) for name in ("query", "key")}
        return shapes | {"value.weight": (value, hidden_dim), "output.weight": (hidden_dim, value)}

    def cache_elements(self, tokens: float) -> float:
        """Numbers kept for one sequence, however long: heads key_head_dim value_head_dim."""
        return self.heads * self.key_head_dim * self.value_head_dim

    def mixing_flops(self, context: float, absorbed: bool = False) -> float:
        """Forward operations for one token besides weights': 2 to update a number of the state, 2 to read it."""
        return 4 * self.cache_elements(context)

    def __str__(self) -> str:
        return f"{self.heads} linear heads, a state of {self.key_head_dim} x {self.value_head_dim} each"


@dataclass(frozen=True)
class StateSpace:
    """A selective state space (Mamba): inner_dim channels of state_dim numbers behind a short causal convolution.

    h_t = exp(Δ_t A) h_{t-1} + Δ_t B_t x_t, y_t = C_t h_t + D x_t; Δ comes through `step_rank` numbers.

    Source: Mamba (Gu and Dao 2023), section 3. Raises ValueError for a number below 1.
    """

    inner_dim: int
    state_dim: int
    step_rank: int
    conv_width: int = 4
    conv_bias: bool = True
    projection_bias: bool = False

    def __post_init__(self) -> None:
        least = dict.fromkeys(("inner_dim", "state_dim", "step_rank", "conv_width"), 1)
        _checks.fields(self, least, ("conv_bias", "projection_bias"))

    def tensors(self, hidden_dim: int) -> Shapes:
        """Name → shape of each weight, matrices as (out, in)."""
        n, state = self.inner_dim, self.state_dim
        shapes: Shapes = {"input.weight": (2 * n, hidden_dim), "conv.weight": (n, 1, self.conv_width)}
        if self.conv_bias:
            shapes["conv.bias"] = (n,)
        shapes |= {"select.weight": (self.step_rank + 2 * state, n), "step.weight": (n, self.step_rank)}
        shapes |= {"step.bias": (n,), "log_decay": (n, state), "skip": (n,), "output.weight": (hidden_dim, n)}
        if self.projection_bias:
            shapes |= {"input.bias": (2 * n,), "output.bias": (hidden_dim,)}
        return shapes

    def cache_elements(self, tokens: float) -> float:
        """Numbers kept for one sequence, however long: the state, and the inputs that the convolution still needs."""
        return self.inner_dim * (self.state_dim + self.conv_width - 1)

    def mixing_flops(self, context: float, absorbed: bool = False) -> float:
        """Forward operations for one token besides matrices': 7 a number of the state, 2 a tap, 2 for the skip.

        The seven: Δ A; Δ x and times B; decay times h, plus; C times h, plus. The exponential is not among them.
        """
        return self.inner_dim * (7 * self.state_dim + 2 * self.conv_width + 2)

    def __str__(self) -> str:
        return f"state space of {self.inner_dim} x {self.state_dim}"


Mixer = Attention | LatentAttention | LinearAttention | StateSpace
