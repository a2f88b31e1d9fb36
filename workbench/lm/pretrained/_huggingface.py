"""A folder as Hugging Face lays it out: config.json, *.safetensors, tokenizer.json."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import DTypeLike

from workbench.lm._attention import Attention, RopeScaling
from workbench.lm._config import Config
from workbench.lm._model import Model
from workbench.lm._tokenizer import Subwords
from workbench.lm.pretrained._extra import needed
from workbench.lm.pretrained._names import BERT, LLAMA, Tensors, weights


def read_folder(folder: Path, dtype: DTypeLike) -> Model:
    """The model of a folder. Raises ValueError for a family or an option that the room does not have."""
    described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config, bert = configuration(described), described["model_type"] == "bert"
    tensors = _tensors(folder)
    if bert:
        tensors = _without_types({name.removeprefix("bert."): read for name, read in tensors.items()})
    elif config.tied:
        tensors = {name: read for name, read in tensors.items() if name != "lm_head.weight"}  # the embedding again
    return Model(
        weights(config, BERT if bert else LLAMA, tensors, dtype),
        config=config,
        tokenizer=_tokenizer(folder, described),
    )


def configuration(described: dict[str, Any]) -> Config:
    """Our configuration for a config.json. Raises ValueError for what the room does not have."""
    family = described.get("model_type")
    if family == "bert":
        return _bert(described)
    if family not in ("llama", "mistral", "qwen2", "qwen3"):
        raise ValueError(f"model_type: {family!r}, must be llama, mistral, qwen2, qwen3 or bert")
    _only(described, "hidden_act", "silu")
    _only(described, "mlp_bias", False)
    if described.get("use_sliding_window", family == "mistral") and described.get("sliding_window"):
        raise ValueError(f"sliding_window: {described['sliding_window']}, must be null: full attention only")
    _only(described, "attention_bias", False)
    attention = Attention(
        heads=described["num_attention_heads"],
        kv_heads=described.get("num_key_value_heads"),
        head_dim=described.get("head_dim"),
        rope_theta=float(_rope(described).get("rope_theta") or described.get("rope_theta") or 1e4),
        rope_scaling=_scaling(_rope(described)),
        qk_norm=family == "qwen3",
        bias=family == "qwen2",
    )
    return Config(
        **_sizes(described),
        mixer=attention,
        tied=bool(described.get("tie_word_embeddings", False)),
        scaled_embedding=False,
        norm_eps=float(described.get("rms_norm_eps", 1e-6)),
        max_length=described.get("max_position_embeddings"),
    )


def _bert(described: dict[str, Any]) -> Config:
    _only(described, "hidden_act", "gelu")
    _only(described, "position_embedding_type", "absolute")
    attention = Attention(
        heads=described["num_attention_heads"], rope_theta=None, qk_norm=False, bias=True, causal=False
    )
    return Config(
        **_sizes(described),
        mixer=attention,
        mlp="gelu",
        norm="layer",
        norm_eps=float(described["layer_norm_eps"]),
        post_norm=True,
        bias=True,
        positions=described["max_position_embeddings"],
        readout=False,
    )


def _sizes(described: dict[str, Any]) -> dict[str, Any]:
    """What all families name alike."""
    ours = {"vocab": "vocab_size", "layers": "num_hidden_layers", "hidden_dim": "hidden_size"}
    return {name: described[theirs] for name, theirs in (ours | {"mlp_dim": "intermediate_size"}).items()}


def _only(described: dict[str, Any], name: str, value: Any) -> None:
    if described.get(name, value) != value:
        raise ValueError(f"{name}: {described[name]!r}, must be {value!r}: the room has no other")


def _rope(described: dict[str, Any]) -> dict[str, Any]:
    return described.get("rope_parameters") or described.get("rope_scaling") or {}


def _scaling(rope: dict[str, Any]) -> RopeScaling | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind != "llama3":
        raise ValueError(f"rope_scaling: {kind!r}, must be null or 'llama3'")
    names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    return RopeScaling(*(float(rope[name]) for name in names))


def _tensors(folder: Path) -> Tensors:
    """All tensors of the folder's safetensors files, read when asked for."""
    from safetensors import safe_open

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ValueError(f"folder: {folder}, must hold weights as *.safetensors")
    tensors: dict[str, Any] = {}
    for file in files:
        opened = safe_open(str(file), framework="numpy")
        tensors |= {name: partial(_read, opened, name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
    return tensors


def _read(opened: Any, name: str) -> np.ndarray:
    return np.asarray(opened.get_tensor(name))


def _without_types(tensors: Tensors) -> Tensors:
    """Sentences have one type here: its embedding joins those of the positions."""
    types, positions = "embeddings.token_type_embeddings.weight", "embeddings.position_embeddings.weight"
    rest = {name: read for name, read in tensors.items() if name not in (types, positions)}
    return rest | {positions: lambda: tensors[positions]() + tensors[types]()[:1]}


def _tokenizer(folder: Path, described: dict[str, Any]) -> Subwords | None:
    file = folder / "tokenizer.json"
    if not file.exists():
        return None
    needed("tokenizers")
    from tokenizers import Tokenizer

    told = [described.get("eos_token_id")]
    generation = folder / "generation_config.json"
    if generation.exists():
        told.append(json.loads(generation.read_text(encoding="utf-8")).get("eos_token_id"))
    ends = {e for each in told if each is not None for e in (each if isinstance(each, list) else [each])}
    return Subwords(Tokenizer.from_file(str(file)), sorted(ends))
