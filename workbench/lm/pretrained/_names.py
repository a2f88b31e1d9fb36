"""How families of models name their tensors, and how a file's tensors become a model's weights."""

import dataclasses
import re
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike

from workbench.lm._config import Config
from workbench.lm._model import init

Tensors = Mapping[str, Callable[[], np.ndarray]]
"""Name -> what reads it: matrices as they are stored, (out, in)."""


@dataclasses.dataclass(frozen=True)
class Names:
    """Theirs for ours: `inside` a layer, after `layer` with its number; `outside`; `ignored`: patterns of the rest."""

    layer: str
    inside: Mapping[str, str]
    outside: Mapping[str, str]
    ignored: tuple[str, ...] = ()


LLAMA = Names(
    "model.layers.{}.",
    {
        "norm": "input_layernorm",
        "mixer/q": "self_attn.q_proj",
        "mixer/k": "self_attn.k_proj",
        "mixer/v": "self_attn.v_proj",
        "mixer/norm_q": "self_attn.q_norm",
        "mixer/norm_k": "self_attn.k_norm",
        "out": "self_attn.o_proj",
        "norm_mlp": "post_attention_layernorm",
        "mlp/gate": "mlp.gate_proj",
        "mlp/up": "mlp.up_proj",
        "mlp/down": "mlp.down_proj",
    },
    {"embedding": "model.embed_tokens", "norm": "model.norm", "readout": "lm_head"},
    (r".*rotary_emb\.inv_freq",),
)
"""Llama, Mistral, Qwen2, Qwen3, SmolLM on Hugging Face."""

GGUF = Names(
    "blk.{}.",
    {
        "norm": "attn_norm",
        "mixer/q": "attn_q",
        "mixer/k": "attn_k",
        "mixer/v": "attn_v",
        "mixer/norm_q": "attn_q_norm",
        "mixer/norm_k": "attn_k_norm",
        "out": "attn_output",
        "norm_mlp": "ffn_norm",
        "mlp/gate": "ffn_gate",
        "mlp/up": "ffn_up",
        "mlp/down": "ffn_down",
    },
    {"embedding": "token_embd", "norm": "output_norm", "readout": "output"},
)
"""The same families in llama.cpp's files."""

BERT = Names(
    "encoder.layer.{}.",
    {
        "mixer/q": "attention.self.query",
        "mixer/k": "attention.self.key",
        "mixer/v": "attention.self.value",
        "out": "attention.output.dense",
        "norm": "attention.output.LayerNorm",
        "mlp/up": "intermediate.dense",
        "mlp/down": "output.dense",
        "norm_mlp": "output.LayerNorm",
    },
    {
        "embedding": "embeddings.word_embeddings",
        "positions": "embeddings.position_embeddings",
        "norm": "embeddings.LayerNorm",
    },
    (r"embeddings\.position_ids", r"pooler\..*", r"cls\..*"),
)
"""BERT encoders; the pooler and the heads of pre-training are no part of the encoder."""


def weights(config: Config, names: Names, tensors: Tensors, dtype: DTypeLike) -> dict:
    """The weights of a model, every tensor in its place; layers are stacked as they are read.

    Raises ValueError for a tensor that is missing, has another shape, or is not known: nothing is left out silently.
    """
    used: set[str] = set()

    def read(name: str, shape: tuple[int, ...], turned: bool) -> np.ndarray:
        if name not in tensors:
            raise ValueError(f"tensors: {name} is missing, the file must hold it; it has {_some(tensors)}")
        used.add(name)
        found = tensors[name]()
        found = found.T if turned else found
        if found.shape != shape:
            raise ValueError(f"tensors: {name} has shape {found.shape}, must be {shape} by the configuration")
        return found

    def leaf(path: tuple, like: jax.ShapeDtypeStruct) -> jax.Array:
        ours = [key.key for key in path]
        turned = ours[0] == "readout" or (ours[-1] == "weight" and len(like.shape) == (3 if ours[0] == "layers" else 2))
        if ours[0] != "layers":
            return jnp.asarray(read(_theirs(names.outside, ours), like.shape, turned), dtype)
        stacked = np.empty(like.shape, jnp.dtype(dtype))
        for i in range(config.layers):
            stacked[i] = read(names.layer.format(i) + _theirs(names.inside, ours[1:]), like.shape[1:], turned)
        return jnp.asarray(stacked)

    shapes = jax.eval_shape(lambda: init(config, jax.random.key(0)).weights)
    made = jax.tree_util.tree_map_with_path(leaf, shapes)
    strangers = sorted(name for name in set(tensors) - used if not any(re.fullmatch(p, name) for p in names.ignored))
    if strangers:
        raise ValueError(f"tensors: {_some(strangers)} have no place in {config}")
    return made


def _theirs(table: Mapping[str, str], path: list[str]) -> str:
    """mixer/q/weight -> self_attn.q_proj.weight."""
    last = path[-1] if path[-1] in ("weight", "bias") else None
    ours = "/".join(path[:-1] if last else path)
    if ours not in table:
        raise ValueError(f"config: asks for {'/'.join(path)}, which this family of models does not have")
    return f"{table[ours]}.{last or 'weight'}"


def _some(names: Mapping | list) -> str:
    listed = sorted(names)
    return ", ".join(listed[:4]) + (f" and {len(listed) - 4} more" if len(listed) > 4 else "")
