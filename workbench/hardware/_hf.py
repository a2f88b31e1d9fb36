"""Configurations as Hugging Face's `config.json` writes them, read into the fields of a ModelSpec.

Each family names its own keys and defaults; the defaults here are those of its configuration class in `transformers`.
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workbench.hardware._feed_forward import FeedForward, MixtureOfExperts
from workbench.hardware._mixers import Attention, LatentAttention, Mixer, StateSpace

Config = Mapping[str, Any]
Fields = dict[str, Any]


def read(config: Config | str | os.PathLike, name: str | None = None) -> Fields:
    """The fields of a ModelSpec. Raises ValueError: see `ModelSpec.from_hf`."""
    config = _load(config)
    inner = config.get("text_config")
    language = {**config, **inner} if isinstance(inner, Mapping) else config  # of a model that sees, the language part
    kind = language.get("model_type")
    if kind not in _FAMILIES:
        raise ValueError(f"model_type: {kind!r}, must be one of {', '.join(_FAMILIES)}")
    given = name or config.get("_name_or_path") or config.get("name") or kind
    return {"name": given} | _FAMILIES[kind](language)


def _load(config: Any) -> Config:
    if isinstance(config, Mapping):
        return config
    if not isinstance(config, str | os.PathLike):
        raise ValueError(f"config: {config!r}, must be a mapping, a file or a folder")  # noqa: TRY004
    path = Path(config)
    path = path / "config.json" if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"config: {str(config)!r}, must be a file or a folder with a config.json")
    loaded = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(loaded, Mapping):
        raise ValueError(f"config: {str(path)!r}, must hold a JSON object")  # noqa: TRY004
    return loaded


def _need(config: Config, key: str) -> Any:
    if config.get(key) is None:
        raise ValueError(f"{key}: missing from a config of model_type {config['model_type']!r}, must be there")
    return config[key]


def _only(config: Config, **settings: Any) -> None:
    """Refuses settings that would change the weights in a way not counted here."""
    for key, expected in settings.items():
        if (value := config.get(key, expected)) != expected:
            raise ValueError(f"{key}: {value!r}, must be {expected!r}: nothing else is counted here")


def _frame(config: Config, tied: bool) -> Fields:
    """What all families but GPT-2 call by the same names."""
    return {
        "vocab": _need(config, "vocab_size"),
        "hidden_dim": _need(config, "hidden_size"),
        "layers": _need(config, "num_hidden_layers"),
        "tied_embeddings": config.get("tie_word_embeddings", tied),
        "context_tokens": config.get("max_position_embeddings"),
    }


def _attention(config: Config, **own: Any) -> Fields:
    """Heads and their width, as the fields of an Attention."""
    heads = _need(config, "num_attention_heads")
    width = config.get("head_dim") or _need(config, "hidden_size") // heads
    return {"heads": heads, "kv_heads": config.get("num_key_value_heads") or heads, "head_dim": width} | own


def _gated(config: Config, bias: bool = False) -> FeedForward:
    return FeedForward(_need(config, "intermediate_size"), bias=bias)


def _windows(config: Config, attention: Fields, slides: Callable[[int], bool]) -> tuple[Mixer, ...]:
    """The repeating pattern of layers with a window and without; `layer_types`, where listed, goes before `slides`."""
    layers, types = _need(config, "num_hidden_layers"), config.get("layer_types")
    if types is not None:
        known = {"full_attention": False, "sliding_attention": True}
        if len(types) != layers or any(kind not in known for kind in types):
            raise ValueError(f"layer_types: {types!r}, must be {layers} of {', '.join(known)}")
        sliding = [known[kind] for kind in types]
    else:
        sliding = [slides(layer) for layer in range(layers)]
    period = next(p for p in range(1, layers + 1) if all(sliding[i] == sliding[i % p] for i in range(layers)))
    window = _need(config, "sliding_window") if any(sliding) else None
    return tuple(Attention(**attention, window=window if slide else None) for slide in sliding[:period])


def _llama(config: Config) -> Fields:
    bias = config.get("attention_bias", False)
    attention = Attention(**_attention(config, qkv_bias=bias, output_bias=bias))
    feed_forward = _gated(config, config.get("mlp_bias", False))
    return _frame(config, tied=False) | {"mixers": (attention,), "feed_forward": feed_forward}


def _mistral(config: Config) -> Fields:
    attention = Attention(**_attention(config, window=config.get("sliding_window")))
    return _frame(config, tied=False) | {"mixers": (attention,), "feed_forward": _gated(config)}


def _mixtral(config: Config) -> Fields:
    experts, active = _need(config, "num_local_experts"), _need(config, "num_experts_per_tok")
    mixture = MixtureOfExperts(experts, active, _need(config, "intermediate_size"))
    return _mistral(config) | {"feed_forward": mixture}


def _qwen(config: Config, **own: Any) -> Fields:
    first = config.get("max_window_layers", 28)  # the layers below it see everything
    slides = lambda layer: bool(config.get("use_sliding_window")) and layer >= first
    mixers = _windows(config, _attention(config, **own), slides)
    return _frame(config, tied=False) | {"mixers": mixers}


def _qwen2(config: Config) -> Fields:
    return _qwen(config, qkv_bias=True) | {"feed_forward": _gated(config)}


def _qwen3(config: Config) -> Fields:
    bias = config.get("attention_bias", False)
    known = {"head_dim": 128, **config}
    return _qwen(known, qkv_bias=bias, output_bias=bias, qk_norm=True) | {"feed_forward": _gated(config)}


def _qwen_experts(config: Config, **shared: Any) -> MixtureOfExperts:
    _only(config, decoder_sparse_step=1, mlp_only_layers=[])
    experts, active = _need(config, "num_experts"), _need(config, "num_experts_per_tok")
    return MixtureOfExperts(experts, active, _need(config, "moe_intermediate_size"), **shared)


def _qwen2_moe(config: Config) -> Fields:
    shared = {"shared_inner_dim": _need(config, "shared_expert_intermediate_size"), "shared_gate": True}
    bias = config.get("qkv_bias", True)
    return _qwen(config, qkv_bias=bias) | {"feed_forward": _qwen_experts(config, **shared)}


def _qwen3_moe(config: Config) -> Fields:
    bias = config.get("attention_bias", False)
    own = {"qkv_bias": bias, "output_bias": bias, "qk_norm": True}
    return _qwen(config, **own) | {"feed_forward": _qwen_experts(config)}


def _gemma(config: Config) -> Fields:
    _only(config, attention_bias=False)
    attention = Attention(**_attention({"head_dim": 256, **config}))
    return _frame(config, tied=True) | {"mixers": (attention,), "feed_forward": _gated(config)}


def _gemma2(config: Config) -> Fields:
    known = {"head_dim": 256, "sliding_window": 4096, **config}
    mixers = _windows(known, _attention(known), lambda layer: layer % 2 == 0)
    return _gemma(known) | {"mixers": mixers, "norms_per_layer": 4}


def _gemma3(config: Config) -> Fields:
    heads = {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256}
    known = {**heads, "vocab_size": 262_208, "sliding_window": 4096, "max_position_embeddings": 131_072, **config}
    pattern = known.get("sliding_window_pattern", 6)  # every sixth layer sees everything
    mixers = _windows(known, _attention(known, qk_norm=True), lambda layer: (layer + 1) % pattern != 0)
    return _gemma(known) | {"mixers": mixers, "norms_per_layer": 4}


def _deepseek(config: Config) -> Fields:
    _only(config, attention_bias=False, moe_layer_freq=1)
    latent = LatentAttention(
        heads=_need(config, "num_attention_heads"),
        kv_lora_rank=_need(config, "kv_lora_rank"),
        nope_head_dim=_need(config, "qk_nope_head_dim"),
        rope_head_dim=_need(config, "qk_rope_head_dim"),
        value_head_dim=_need(config, "v_head_dim"),
        q_lora_rank=config.get("q_lora_rank"),
    )
    inner = _need(config, "moe_intermediate_size")
    mixture = MixtureOfExperts(
        experts=_need(config, "n_routed_experts"),
        active=_need(config, "num_experts_per_tok"),
        inner_dim=inner,
        shared_inner_dim=inner * (config.get("n_shared_experts") or 0),
        router_bias=config["model_type"] == "deepseek_v3",
    )
    dense = config.get("first_k_dense_replace", 0)
    first = {"dense_layers": dense, "dense_feed_forward": _gated(config) if dense else None}
    return _frame(config, tied=False) | {"mixers": (latent,), "feed_forward": mixture} | first


def _gpt2(config: Config) -> Fields:
    width, heads, positions = (_need(config, key) for key in ("n_embd", "n_head", "n_positions"))
    _only(config, add_cross_attention=False)
    return {
        "vocab": _need(config, "vocab_size"),
        "hidden_dim": width,
        "layers": _need(config, "n_layer"),
        "mixers": (Attention(heads, heads, width // heads, qkv_bias=True, output_bias=True),),
        "feed_forward": FeedForward(config.get("n_inner") or 4 * width, gated=False, bias=True),
        "tied_embeddings": config.get("tie_word_embeddings", True),
        "norm": "layer",
        "learned_positions": positions,
        "context_tokens": positions,
    }


def _gpt_neox(config: Config) -> Fields:
    bias = config.get("attention_bias", True)
    attention = Attention(**_attention(config, qkv_bias=bias, output_bias=bias))
    feed_forward = FeedForward(_need(config, "intermediate_size"), gated=False, bias=True)
    return _frame(config, tied=False) | {"mixers": (attention,), "feed_forward": feed_forward, "norm": "layer"}


def _opt(config: Config) -> Fields:
    width = _need(config, "hidden_size")
    _only(config, do_layer_norm_before=True, word_embed_proj_dim=width, layer_norm_elementwise_affine=True)
    _only(config, _remove_final_layer_norm=False)
    bias, positions = config.get("enable_bias", True), _need(config, "max_position_embeddings")
    return _frame(config, tied=True) | {
        "mixers": (Attention(**_attention(config, qkv_bias=bias, output_bias=bias)),),
        "feed_forward": FeedForward(_need(config, "ffn_dim"), gated=False, bias=bias),
        "norm": "layer",
        "learned_positions": positions + 2,  # its table begins with two rows that no position uses
    }


def _mamba(config: Config) -> Fields:
    width, rank = _need(config, "hidden_size"), config.get("time_step_rank", "auto")
    mixer = StateSpace(
        inner_dim=config.get("intermediate_size") or config.get("expand", 2) * width,
        state_dim=config.get("state_size", 16),
        step_rank=math.ceil(width / 16) if rank == "auto" else rank,
        conv_width=config.get("conv_kernel", 4),
        conv_bias=config.get("use_conv_bias", True),
        projection_bias=config.get("use_bias", False),
    )
    return _frame(config, tied=True) | {"mixers": (mixer,), "feed_forward": None, "norms_per_layer": 1}


_FAMILIES: dict[str, Callable[[Config], Fields]] = {
    "llama": _llama,
    "mistral": _mistral,
    "mixtral": _mixtral,
    "qwen2": _qwen2,
    "qwen2_moe": _qwen2_moe,
    "qwen3": _qwen3,
    "qwen3_moe": _qwen3_moe,
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "gemma3_text": _gemma3,
    "deepseek_v2": _deepseek,
    "deepseek_v3": _deepseek,
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "opt": _opt,
    "mamba": _mamba,
}
