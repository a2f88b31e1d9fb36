"""A GGUF file, as llama.cpp writes it: unpacked once, into a folder of the user's cache as Hugging Face lays it out."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from workbench.hardware import cache_folder
from workbench.lm.pretrained._extra import needed
from workbench.lm.pretrained._names import GGUF, LLAMA

_FAMILIES = ("llama", "qwen2", "qwen3")
_CONTROL = 3  # a token's kind: not text

Fields = Callable[[str], Any]
"""What the file says under a name, None if nothing."""


def unpacked(file: Path) -> Path:
    """The folder that holds this very file's model in float32: made now, or found in the user's cache.

    Raises ValueError for a family, a tokenizer or an option that the room does not have.
    """
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    kept = cache_folder() / "weights" / digest
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=kept.parent, prefix=".new-"))
        try:
            _unpack(file, draft)
            if not kept.exists():  # another process may have been faster
                draft.rename(kept)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return kept


def _unpack(file: Path, folder: Path) -> None:
    needed("gguf", "tokenizers")
    from gguf import GGUFReader, dequantize
    from safetensors.numpy import save_file

    reader = GGUFReader(str(file))
    fields: Fields = lambda name: reader.fields[name].contents() if name in reader.fields else None
    stored = {tensor.name: tensor for tensor in reader.tensors}
    described = _described(fields, set(stored))
    tensors = {}
    for name, tensor in stored.items():
        array = np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32)
        tensors[_renamed(name)] = np.ascontiguousarray(_halves(name, array, described))
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(described), encoding="utf-8")
    _tokenizer(fields).save(str(folder / "tokenizer.json"))


def _described(fields: Fields, names: set[str]) -> dict[str, Any]:
    """The file's own description as a config.json."""
    family = fields("general.architecture")
    if family not in _FAMILIES:
        raise ValueError(f"general.architecture: {family!r}, must be one of {', '.join(_FAMILIES)}")
    told = lambda name: fields(f"{family}.{name}")
    if told("rope.scaling.type") not in (None, "none") or "rope_freqs.weight" in names:
        raise ValueError("rope.scaling: the file scales rotary positions, which is known of Hugging Face folders only")
    ends = {fields("tokenizer.ggml.eos_token_id"), fields("tokenizer.ggml.eot_token_id")} - {None}
    described = {
        "model_type": family,
        "vocab_size": len(fields("tokenizer.ggml.tokens")),
        "num_hidden_layers": told("block_count"),
        "hidden_size": told("embedding_length"),
        "intermediate_size": told("feed_forward_length"),
        "num_attention_heads": told("attention.head_count"),
        "num_key_value_heads": told("attention.head_count_kv"),
        "head_dim": told("attention.key_length"),
        "rope_theta": told("rope.freq_base"),
        "rms_norm_eps": told("attention.layer_norm_rms_epsilon"),
        "max_position_embeddings": told("context_length"),
        "tie_word_embeddings": "output.weight" not in names,
        "eos_token_id": sorted(ends),
    }
    return {name: value for name, value in described.items() if value is not None}


def _renamed(name: str) -> str:
    """blk.3.attn_q.weight -> model.layers.3.self_attn.q_proj.weight; an unknown name stays, and is refused later."""
    stem, _, last = name.rpartition(".")
    if stem.startswith("blk."):
        _, layer, part = stem.split(".", 2)
        for ours, theirs in GGUF.inside.items():
            if theirs == part:
                return f"{LLAMA.layer.format(layer)}{LLAMA.inside[ours]}.{last}"
    for ours, theirs in GGUF.outside.items():
        if theirs == stem:
            return f"{LLAMA.outside[ours]}.{last}"
    return name


def _halves(name: str, array: np.ndarray, described: dict[str, Any]) -> np.ndarray:
    """Queries and keys of Llama files turn adjacent pairs (2i, 2i + 1); ours turn halves (i, i + head_dim / 2)."""
    counts = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}
    part = name.split(".")[-2]
    if described["model_type"] != "llama" or part not in counts:
        return array
    pairs = array.reshape(described[counts[part]], -1, 2, *array.shape[1:])
    return pairs.swapaxes(1, 2).reshape(array.shape)


def _tokenizer(fields: Fields) -> Any:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    model, style = fields("tokenizer.ggml.model"), fields("tokenizer.ggml.pre")
    words = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    cuts = {
        "smollm": [pre_tokenizers.Digits(individual_digits=True), plain],
        "gpt-2": [plain],
        "qwen2": [
            pre_tokenizers.Split(Regex(words), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ],
    }
    if model != "gpt2" or style not in cuts:
        raise ValueError(f"tokenizer.ggml: {model!r} with {style!r}, must be 'gpt2' with one of {', '.join(cuts)}")
    tokens, kinds = fields("tokenizer.ggml.tokens"), fields("tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ", 1)) for merge in fields("tokenizer.ggml.merges")]
    made = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    made.pre_tokenizer = pre_tokenizers.Sequence(cuts[style])
    made.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL]
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return made
