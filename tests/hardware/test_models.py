"""The catalogue of models: counts as published, caches as known, names as people type them."""

import dataclasses
import math
import subprocess
import sys

import pytest

from workbench import hardware
from workbench.hardware import _models

EXACT = {
    "gpt2": 124_439_808,
    "gpt-neox-20b": 20_554_567_680,
    "llama-2-7b": 6_738_415_616,
    "llama-3-8b": 8_030_261_248,
    "llama-3-70b": 70_553_706_496,
    "llama-3.2-1b": 1_235_814_400,
    "smollm2-135m": 134_515_008,
    "mistral-7b": 7_241_732_096,
    "mixtral-8x7b": 46_702_792_704,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen3-0.6b": 596_049_920,
    "qwen3-30b-a3b": 30_532_122_624,
    "gemma-2-2b": 2_614_341_888,
    "gemma-3-27b": 27_009_346_304,
    "deepseek-v2-lite": 15_706_484_224,
    "mamba-130m": 129_135_360,
}


@pytest.mark.parametrize("entry", _models.entries(), ids=lambda entry: entry.spec.name)
def test_every_model_has_its_published_count(entry):
    assert entry.spec.parameters == sum(math.prod(shape) for shape in entry.spec.tensors().values())
    assert entry.agrees
    assert len(entry.source) > 20
    deeper = dataclasses.replace(entry.spec, layers=entry.spec.layers * 11 // 10)
    assert not dataclasses.replace(entry, spec=deeper).agrees


@pytest.mark.parametrize("name", EXACT)
def test_counts_to_the_last_weight(name):
    assert hardware.model(name).parameters == EXACT[name]


@pytest.mark.parametrize(
    ("name", "tokens", "gib"),
    [("gemma-3-27b", 131_072, 10.41), ("deepseek-v3.1", 163_840, 10.72), ("qwen3-0.6b", 40_960, 4.38)],
)
def test_known_caches(name, tokens, gib):
    spec = hardware.model(name)
    assert spec.context_tokens == tokens
    assert spec.kv_cache_bytes(tokens) / 2**30 == pytest.approx(gib, abs=0.005)


def test_active_parameters():
    """37B of DeepSeek-V3's report; its weights' README says 36.7B. Mixtral: 12.9B. Qwen3-30B-A3B: 3.3B."""
    deepseek = hardware.model("deepseek-v3")
    assert deepseek.parameters == 671_026_419_200
    assert deepseek.active_parameters == pytest.approx(37e9, rel=0.02)
    assert deepseek.active_parameters - 129_280 * 7168 == pytest.approx(36.7e9, rel=0.005)  # embedding looked up
    assert hardware.model("mixtral-8x7b").active_parameters == pytest.approx(12.9e9, rel=0.005)
    assert hardware.model("qwen3-30b-a3b").active_parameters == 3_353_032_704
    assert hardware.model("llama-3-8b").active_parameters == 8_030_261_248


def test_the_formula_of_the_megatron_papers():
    """P = 12 l h² (1 + 13 / (12 h) + (V + s) / (12 l h)), and the 2 h of the last norm that it leaves out."""
    for name in ("megatron-530b", "megatron-1t", "gpt3-175b"):
        spec = hardware.model(name)
        h, layers, tables = spec.hidden_dim, spec.layers, spec.vocab + spec.learned_positions
        assert spec.parameters == 12 * layers * h**2 + 13 * layers * h + tables * h + 2 * h


def test_names_and_aliases_in_any_case():
    assert hardware.model("Llama3-8B") is hardware.model("llama-3-8b")
    known = [name.lower() for row in _models.entries() for name in (row.spec.name, *row.aliases)]
    assert len(known) == len(set(known))
    for name in ("gpt3-175b", "llama-3-70b", "megatron-1t", "opt-13b"):
        assert hardware.model(name).name == name
    with pytest.raises(ValueError, match=r"name: 'llama-3-80b', must be one of gpt2.*did you mean .*llama-3-8b"):
        hardware.model("llama-3-80b")
    with pytest.raises(ValueError, match="name: 3, must be one of"):
        hardware.model(3)


def test_the_frame_has_a_row_a_model():
    frame = hardware.models()
    assert frame.height == len(_models.entries()) >= 20
    row = frame.filter(frame["name"] == "gpt3-175b").row(0, named=True)
    assert (row["layers"], row["hidden_dim"], row["published_digits"], row["verified"]) == (96, 12288, 3, False)
    assert frame.filter(frame["verified"])["name"].len() >= 20
    exact = frame.filter(frame["published_digits"].is_null())
    assert (exact["parameters"] == exact["published_parameters"]).all()
    assert (frame["active_parameters"] <= frame["parameters"]).all()


def test_the_catalogue_needs_neither_jax_nor_numpy():
    code = (
        "import sys; from workbench import hardware; hardware.model('llama-3-8b').kv_cache_bytes(8192);"
        "assert not {'jax', 'numpy', 'polars'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
