"""Sentence embeddings from an encoder."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from workbench.lm import masks
from workbench.lm._forward import forward
from workbench.lm._model import Model
from workbench.lm._padding import padded, rounded

_STEP = 16  # lengths are multiples of it


def embed(model: Model, texts: str | Sequence[str]) -> Float[np.ndarray, "*texts dim"]:
    """A unit vector a text: the mean of the hidden states of its tokens, divided by its length (Sentence-BERT).

    The texts are encoded with the model's special tokens, and run as one batch in which padding is seen by nobody.
    Raises ValueError for a model without a tokenizer or with a causal order, an empty text, or one that is too long.
    Source: arXiv 1908.10084, section 3 (mean pooling).
    """
    if model.tokenizer is None or model.config.causal:
        raise ValueError("model: must be an encoder with a tokenizer, such as lm.load('minilm')")
    several = [texts] if isinstance(texts, str) else list(texts)
    rows = [model.tokenizer.encode(text, special=True) for text in several]
    if not rows or not all(rows):
        raise ValueError(f"texts: {texts!r}, must be one or more texts that are not empty")
    lengths, longest = np.asarray([len(row) for row in rows]), model.config.longest
    if longest is not None and lengths.max() > longest:
        raise ValueError(f"texts: one of {lengths.max()} tokens, must be at most {longest}")
    width = rounded(int(lengths.max()), _STEP, longest)
    tokens, _ = padded(rows, width)
    hidden = forward(model, tokens, mask=masks.padded(lengths, width)).hidden
    counts = jnp.asarray(np.arange(width)[None] < lengths[:, None])
    mean = jnp.where(counts[..., None], hidden, 0).sum(1) / jnp.asarray(lengths[:, None], hidden.dtype)
    vectors = np.asarray(mean / jnp.linalg.norm(mean, axis=-1, keepdims=True))
    return vectors[0] if isinstance(texts, str) else vectors
