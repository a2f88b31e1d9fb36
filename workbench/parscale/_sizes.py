"""The models of the parallel scaling law: their shapes, and the N that the law counts."""

from typing import Any

from workbench.checks import integer
from workbench.hardware import Attention, FeedForward, ModelSpec

SIZES = {
    "0.5B": (896, 4864),
    "0.7B": (1024, 5504),
    "1.1B": (1280, 6912),
    "1.6B": (1536, 8320),
    "2.8B": (2048, 11008),
    "4.4B": (2560, 13824),
}
"""Hidden and intermediate width of each; derived from the published counts, all of which they meet to the weight."""

PREFIX_TOKENS = 48
"""Learned keys and values that each stream puts before its own, in every layer (default of the published script)."""


def parscale_spec(hidden_dim: int, intermediate_dim: int, *, layers: int = 36, vocab: int = 151_936) -> ModelSpec:
    """The base model of the scaling law: Qwen2's shape with 16 query heads, 2 for keys and values, tied embeddings.

    Raises ValueError for a hidden_dim that 16 does not divide and for numbers below 1.
    """
    if isinstance(hidden_dim, bool) or not isinstance(hidden_dim, int) or hidden_dim < 16 or hidden_dim % 16:
        raise ValueError(f"hidden_dim: {hidden_dim!r}, must be a multiple of 16")
    attention = Attention(heads=16, kv_heads=2, head_dim=hidden_dim // 16, qkv_bias=True)
    feed_forward = FeedForward(intermediate_dim)
    name = f"parscale-{hidden_dim}x{intermediate_dim}"
    return ModelSpec(name, vocab, hidden_dim, layers, (attention,), feed_forward, tied_embeddings=True)


def parameters(model: str | ModelSpec, streams: int, *, prefix_tokens: int = PREFIX_TOKENS) -> int:
    """The N of the scaling law: weights without embeddings, with prefixes and aggregation.

    For P > 1 streams of width h it adds the prefixes, layers · 2 · P · prefix_tokens · kv_heads · head_dim, and the two
    maps of the aggregation, (P h + 1) h and (h + 1) P. Raises ValueError for a model that is neither one of SIZES nor a
    ModelSpec of like layers, streams < 1, and prefix_tokens < 0.
    """
    spec, attention, _ = plain_transformer(model)
    integer("streams", streams, 1)
    integer("prefix_tokens", prefix_tokens, 0)
    base = spec.parameters - spec.embedding_parameters
    if streams == 1:
        return base
    h = spec.hidden_dim
    prefixes = spec.layers * 2 * streams * prefix_tokens * attention.kv_heads * attention.head_dim
    return base + prefixes + (streams * h + 1) * h + (h + 1) * streams


def plain_transformer(model: Any) -> tuple[ModelSpec, Attention, FeedForward]:
    """The specification of a model, and the two parts that all its layers are made of. Raises ValueError."""
    spec = parscale_spec(*SIZES[model]) if isinstance(model, str) and model in SIZES else model
    if not isinstance(spec, ModelSpec):
        raise ValueError(f"model: {model!r}, must be a ModelSpec or one of {', '.join(SIZES)}")  # noqa: TRY004
    mixer, feed_forward = spec.mixers[0], spec.feed_forward
    alike = len(spec.mixers) == 1 and not spec.dense_layers
    if not alike or not isinstance(mixer, Attention) or mixer.window or not isinstance(feed_forward, FeedForward):
        raise ValueError(f"model: {spec.name!r}, must have like layers of full attention and a dense feed-forward")
    return spec, mixer, feed_forward
