"""Model specifications: weights, caches and operations by hand, and configurations as Hugging Face writes them."""

import dataclasses
import json
import math

import pytest

from workbench import hardware
from workbench.hardware import Attention, FeedForward, LatentAttention, LinearAttention, MixtureOfExperts, StateSpace

LLAMA = {
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
}
QWEN3_MOE = {
    "model_type": "qwen3_moe",
    "vocab_size": 151936,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_hidden_layers": 48,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "sliding_window": None,
    "use_sliding_window": False,
    "max_position_embeddings": 40960,
}
DEEPSEEK = {
    "model_type": "deepseek_v3",
    "vocab_size": 129280,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
    "moe_layer_freq": 1,
    "max_position_embeddings": 163840,
}
GEMMA3 = {
    "model_type": "gemma3",
    "vision_config": {"hidden_size": 1152},
    "text_config": {
        "model_type": "gemma3_text",
        "head_dim": 128,
        "hidden_size": 5376,
        "intermediate_size": 21504,
        "num_attention_heads": 32,
        "num_hidden_layers": 62,
        "num_key_value_heads": 16,
        "sliding_window": 1024,
    },
}


def plain(kind, vocab, hidden, inner, layers, heads, kv, **more):
    """A configuration in the keys that most families share."""
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    values = dict(zip((*names, "num_key_value_heads"), (vocab, hidden, inner, layers, heads, kv), strict=True))
    return {"model_type": kind} | values | more


CONFIGS = {
    "llama-3-8b": LLAMA,
    "smollm2-135m": plain("llama", 49152, 576, 1536, 30, 9, 3, tie_word_embeddings=True, attention_bias=False),
    "mistral-7b": plain("mistral", 32000, 4096, 14336, 32, 32, 8, sliding_window=4096),
    "mixtral-8x7b": plain("mixtral", 32000, 4096, 14336, 32, 32, 8, num_local_experts=8, num_experts_per_tok=2),
    "qwen2.5-1.5b": plain("qwen2", 151936, 1536, 8960, 28, 12, 2, tie_word_embeddings=True, sliding_window=131072),
    "qwen1.5-moe-a2.7b": plain("qwen2_moe", 151936, 2048, 5632, 24, 16, 16)
    | {"num_experts": 60, "num_experts_per_tok": 4, "moe_intermediate_size": 1408}
    | {"shared_expert_intermediate_size": 5632},
    "qwen3-0.6b": plain("qwen3", 151936, 1024, 3072, 28, 16, 8, head_dim=128, tie_word_embeddings=True),
    "qwen3-30b-a3b": QWEN3_MOE,
    "gemma-2-2b": plain("gemma2", 256000, 2304, 9216, 26, 8, 4, head_dim=256, sliding_window=4096),
    "gemma-3-27b": GEMMA3,
    "deepseek-v3.1": DEEPSEEK,
    "deepseek-v2-lite": DEEPSEEK
    | plain("deepseek_v2", 102400, 2048, 10944, 27, 16, 16, moe_intermediate_size=1408, q_lora_rank=None)
    | {"n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6, "first_k_dense_replace": 1},
    "gpt2": {
        "model_type": "gpt2",
        "vocab_size": 50257,
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "n_positions": 1024,
    },
    "gpt-neox-20b": plain("gpt_neox", 50432, 6144, 24576, 44, 64, None, tie_word_embeddings=False),
    "opt-13b": plain("opt", 50272, 5120, None, 40, 40, None, ffn_dim=20480, max_position_embeddings=2048),
    "mamba-130m": {"model_type": "mamba", "vocab_size": 50280, "hidden_size": 768, "num_hidden_layers": 24},
}
ONE = Attention(heads=4, kv_heads=2, head_dim=8)
SMALL = hardware.ModelSpec("small", 100, 16, 3, (ONE,), FeedForward(24), context_tokens=64)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_of_hugging_face_is_the_catalogue_s(name):
    spec, known = hardware.ModelSpec.from_hf(CONFIGS[name], name), hardware.model(name)
    assert dataclasses.replace(spec, context_tokens=known.context_tokens) == known
    assert spec.parameters == sum(math.prod(shape) for shape in spec.tensors().values())
    assert hash(spec) == hash(hardware.ModelSpec.from_hf(dict(CONFIGS[name]), name))


def test_a_file_and_its_folder_are_read(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA | {"_name_or_path": "mine"}), encoding="utf-8")
    spec = hardware.ModelSpec.from_hf(tmp_path)
    assert spec == hardware.ModelSpec.from_hf(str(tmp_path / "config.json"))
    assert (spec.name, spec.context_tokens) == ("mine", 8192)
    assert hardware.ModelSpec.from_hf(LLAMA).name == "llama"


def test_windows_follow_the_listed_layers_and_the_older_keys():
    types = ["full_attention", "full_attention", "sliding_attention"]
    qwen = plain("qwen2", 1000, 64, 128, 3, 4, 2, sliding_window=16)
    listed = hardware.ModelSpec.from_hf(qwen | {"layer_types": types})
    older = hardware.ModelSpec.from_hf(qwen | {"use_sliding_window": True, "max_window_layers": 2})
    assert listed == older
    assert [listed.mixer(i).window for i in range(3)] == [None, None, 16]
    every = hardware.ModelSpec.from_hf(qwen | {"use_sliding_window": True, "max_window_layers": 0})
    assert len(every.mixers) == 1
    assert every.mixer(2).window == 16
    gemma = hardware.ModelSpec.from_hf(GEMMA3)
    assert [gemma.mixer(i).window for i in (0, 4, 5, 6, 59, 61)] == [1024, 1024, None, 1024, None, 1024]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "perceiver"}, "model_type: 'perceiver', must be one of llama, mistral"),
        ({}, "model_type: None"),
        ({k: v for k, v in LLAMA.items() if k != "hidden_size"}, "hidden_size: missing from a config of .*'llama'"),
        (LLAMA | {"num_key_value_heads": 5}, "kv_heads: 5, must divide heads, 32"),
        (LLAMA | {"vocab_size": "many"}, "vocab: 'many', must be an integer"),
        (QWEN3_MOE | {"mlp_only_layers": [0]}, r"mlp_only_layers: \[0\], must be \[\]"),
        (DEEPSEEK | {"attention_bias": True}, "attention_bias: True, must be False"),
        (CONFIGS["opt-13b"] | {"word_embed_proj_dim": 512}, "word_embed_proj_dim: 512, must be 5120"),
        (CONFIGS["gemma-2-2b"] | {"layer_types": ["full_attention"]}, "layer_types: .*must be 26 of"),
        (LLAMA | {"layer_types": None, "num_attention_heads": None}, "num_attention_heads: missing"),
        (3, "config: 3, must be a mapping, a file or a folder"),
        ("/nowhere/config.json", "config: '/nowhere/config.json', must be a file"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        hardware.ModelSpec.from_hf(config)


def test_weights_of_a_small_model_by_hand():
    attention = 16 * 32 + 2 * 16 * 16 + 32 * 16
    layer = attention + 3 * 16 * 24 + 2 * 16
    assert SMALL.parameters == 3 * layer + 16 + 2 * 100 * 16
    assert SMALL.embedding_parameters == 2 * 100 * 16
    assert SMALL.active_parameters == SMALL.parameters
    assert SMALL.weight_bytes(0.5) == SMALL.parameters / 2
    tied = dataclasses.replace(SMALL, tied_embeddings=True)
    assert SMALL.parameters - tied.parameters == 100 * 16
    assert SMALL.tensors()["layers.2.mixer.key.weight"] == (16, 16)
    assert "head.weight" not in tied.tensors()


def test_what_is_not_counted_is_seen():
    """Each switch adds exactly its own weights."""
    biased = dataclasses.replace(ONE, qkv_bias=True, output_bias=True, qk_norm=True)
    extra = lambda **changes: dataclasses.replace(SMALL, **changes).parameters - SMALL.parameters
    assert extra(mixers=(biased,)) == 3 * (32 + 2 * 16 + 16 + 2 * 8)
    assert extra(feed_forward=FeedForward(24, bias=True)) == 3 * (2 * 24 + 16)
    assert extra(feed_forward=FeedForward(24, gated=False)) == -3 * 16 * 24
    assert extra(norm="layer") == 7 * 16
    assert extra(norms_per_layer=4) == 3 * 2 * 16
    assert extra(learned_positions=10) == 10 * 16
    assert extra(feed_forward=None) == -3 * 3 * 16 * 24


def test_experts_by_hand():
    mixture = MixtureOfExperts(8, 2, 12, shared_inner_dim=20, shared_gate=True, router_bias=True)
    spec = dataclasses.replace(SMALL, feed_forward=mixture, dense_layers=1, dense_feed_forward=FeedForward(24))
    expert, shared = 3 * 16 * 12, 3 * 16 * 20
    assert spec.parameters - SMALL.parameters == 2 * (8 * expert + shared + 8 * 16 + 8 + 16 - 3 * 16 * 24)
    assert spec.parameters - spec.active_parameters == 2 * 6 * expert
    assert mixture.flops_per_token(16) == 2 * (2 * expert + shared + 8 * 16 + 16)
    assert spec.tensors()["layers.2.feed_forward.experts.down.weight"] == (8, 16, 12)
    assert "layers.0.feed_forward.router.weight" not in spec.tensors()


def test_the_cache_grows_to_the_window_and_no_further():
    windowed = dataclasses.replace(SMALL, mixers=(dataclasses.replace(ONE, window=10), ONE))  # 2 layers and 1
    a_token = 2 * 2 * 8 * 2
    assert SMALL.kv_cache_bytes(100) == 3 * 100 * a_token
    assert windowed.kv_cache_bytes(100) == (100 + 2 * 10) * a_token
    assert windowed.kv_cache_bytes(10) == SMALL.kv_cache_bytes(10)
    assert SMALL.kv_cache_bytes(0) == 0
    assert SMALL.kv_cache_bytes(7.5, batch=4, dtype_bytes=1) == 3 * 7.5 * 4 * a_token / 2


def test_a_latent_cache_holds_rank_and_rotary_key_and_a_state_does_not_grow():
    latent = LatentAttention(4, kv_lora_rank=6, nope_head_dim=5, rope_head_dim=3, value_head_dim=7)
    linear, space = LinearAttention(4, 3, 5), StateSpace(32, 16, 2)
    cached = lambda mixer, tokens: dataclasses.replace(SMALL, mixers=(mixer,)).kv_cache_bytes(tokens, dtype_bytes=1)
    assert cached(latent, 11) == 3 * 11 * (6 + 3)
    assert cached(linear, 1) == cached(linear, 10**6) == 3 * 4 * 3 * 5
    assert cached(space, 1) == cached(space, 10**6) == 3 * 32 * (16 + 3)


def test_operations_are_those_of_the_megatron_papers():
    """Forward, a token: 24 h² + 4 s h a layer and 2 h V for the head (Narayanan et al. 2021, appendix)."""
    spec, s = hardware.model("gpt3-175b"), 2048
    h, layers = spec.hidden_dim, spec.layers
    assert spec.flops_per_token(s, head=False) == layers * (24 * h**2 + 4 * s * h)
    assert spec.flops_per_token(s) - spec.flops_per_token(s, head=False) == 2 * h * spec.vocab


def test_operations_follow_windows_experts_and_the_form_of_a_latent_cache():
    windowed = dataclasses.replace(SMALL, mixers=(dataclasses.replace(ONE, window=10),))
    assert SMALL.flops_per_token(100) - windowed.flops_per_token(100) == 3 * 4 * 32 * 90
    mixtral = hardware.model("mixtral-8x7b")
    norms = (2 * 32 + 1) * 4096
    assert mixtral.flops_per_token(1) - 32 * 4 * 4096 == 2 * (mixtral.active_parameters - norms - 32000 * 4096)
    deepseek = hardware.model("deepseek-v3.1")
    wider = deepseek.flops_per_token(1000, absorbed=True) - deepseek.flops_per_token(1000)
    assert wider == 61 * 2 * 128 * 1000 * ((512 + 64 + 512) - (128 + 64 + 128))
    mamba = hardware.model("mamba-130m")
    assert mamba.flops_per_token(1) == mamba.flops_per_token(10**6)
    weights = 24 * (2 * 768 * 1536 + 1536 * (48 + 32) + 1536 * 48 + 1536 * 768) + 50280 * 768
    assert mamba.flops_per_token(1) == 2 * weights + 24 * 1536 * (7 * 16 + 2 * 4 + 2)
    linear = dataclasses.replace(SMALL, mixers=(LinearAttention(4, 3, 5),))
    assert linear.flops_per_token(1) == linear.flops_per_token(99)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "name: '', must be a text"),
        ({"vocab": 0}, "vocab: 0, must be an integer of at least 1"),
        ({"vocab": None}, "vocab: None"),
        ({"hidden_dim": 16.0}, "hidden_dim: 16.0"),
        ({"layers": True}, "layers: True"),
        ({"mixers": ()}, r"mixers: \(\), must be a tuple of 1 to 3 of Attention"),
        ({"mixers": [ONE]}, r"mixers: \["),
        ({"mixers": (ONE,) * 4}, "mixers: .*tuple of 1 to 3"),
        ({"feed_forward": 24}, "feed_forward: 24, must be FeedForward"),
        ({"dense_layers": 4}, "dense_layers: 4, must be at most layers, 3"),
        ({"dense_layers": 1}, "dense_feed_forward: None, must be a FeedForward where dense_layers is 1"),
        ({"dense_feed_forward": FeedForward(8)}, "dense_feed_forward: .*must be None where dense_layers is 0"),
        ({"norm": "batch"}, "norm: 'batch', must be one of rms, layer"),
        ({"tied_embeddings": 1}, "tied_embeddings: 1, must be True or False"),
        ({"learned_positions": -1}, "learned_positions: -1, must be an integer of at least 0"),
        ({"context_tokens": 0}, "context_tokens: 0"),
    ],
)
def test_a_field_that_is_not_possible_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Attention(4, 3, 8), "kv_heads: 3, must divide heads, 4"),
        (lambda: Attention(4, 2, 8, window=0), "window: 0"),
        (lambda: Attention(4, 2, 8, qk_norm="yes"), "qk_norm: 'yes', must be True or False"),
        (lambda: LatentAttention(4, 6, 5, 3, 0), "value_head_dim: 0"),
        (lambda: LatentAttention(4, 6, 5, 3, 7, q_lora_rank=0), "q_lora_rank: 0"),
        (lambda: LinearAttention(0, 3, 5), "heads: 0"),
        (lambda: StateSpace(32, 16, 0), "step_rank: 0"),
        (lambda: FeedForward(0), "inner_dim: 0"),
        (lambda: MixtureOfExperts(4, 5, 8), "active: 5, must be at most experts, 4"),
        (lambda: MixtureOfExperts(4, 2, 8, shared_gate=True), "shared_gate: True, must be False"),
        (lambda: SMALL.kv_cache_bytes(-1), "tokens: -1, must be a finite number of at least 0"),
        (lambda: SMALL.kv_cache_bytes(1, batch=math.nan), "batch: nan"),
        (lambda: SMALL.weight_bytes("two"), "dtype_bytes: 'two'"),
        (lambda: SMALL.flops_per_token(0), "context: 0, must be a finite number of at least 1"),
    ],
)
def test_an_argument_that_is_not_possible_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_specification_shows_itself():
    text = str(hardware.model("gemma-3-27b"))
    assert "gemma-3-27b: parameters 27.0 · 10⁹" in text
    assert "32 heads, 16 for keys and values, of 128, window 1024; 32 heads" in text
    html = hardware.model("deepseek-v3.1")._repr_html_()
    assert "128 latent heads, 512 + 64 numbers cached a token" in html
    assert "gated, 18432 wide; 8 of 256 experts of 2048, 2048 shared" in html
    assert "state space of 1536 x 16" in str(hardware.model("mamba-130m"))
    assert "a state of 3 x 5 each" in str(LinearAttention(4, 3, 5))
