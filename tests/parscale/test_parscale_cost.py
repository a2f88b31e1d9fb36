"""The analytic cost of streams: the published counts exactly, the published script's values, and where it turns."""

import dataclasses
import itertools

import numpy as np
import pytest

from workbench import hardware
from workbench.parscale import _cost

# N of figure 2 as the script `parametric_fit.py` of QwenLM/ParScale lists it.
COUNTS = {
    "0.5B": (535813376, 538195842, 540577412, 545340552),
    "0.7B": (693753856, 696738818, 699722756, 705690632),
    "1.1B": (1088376320, 1092762882, 1097148164, 1105918728),
    "1.6B": (1571472384, 1577522690, 1583571460, 1595669000),
    "2.8B": (2774773760, 2784937986, 2795100164, 2815424520),
    "4.4B": (4353203200, 4368529922, 4383854084, 4414502408),
}
# GiB and seconds at batch 1, means over the 16 pairs of lengths, from the script `cost_analysis.py`.
REFERENCE = {
    ("1.6B", 1): (3.442, 0.482),
    ("1.6B", 8): (3.587, 0.548),
    ("2.8B", 1): (5.832, 0.822),
    ("2.8B", 8): (6.037, 0.923),
    ("4.4B", 1): (8.921, 1.260),
    ("4.4B", 8): (9.193, 1.403),
}
BATCHES = (1, 2, 4, 8)
READ, WRITTEN = np.meshgrid(_cost.LENGTHS, _cost.LENGTHS)


@pytest.mark.parametrize(("size", "streams"), list(itertools.product(COUNTS, (1, 2, 4, 8))))
def test_all_published_counts_to_the_weight(size, streams):
    assert _cost.parameters(size, streams) == COUNTS[size][(1, 2, 4, 8).index(streams)]


def test_counts_of_a_specification_and_without_prefix():
    spec = _cost.parscale_spec(1536, 8320)
    assert _cost.parameters(spec, 8) == COUNTS["1.6B"][3]
    h = 1536
    assert _cost.parameters(spec, 2, prefix_tokens=0) - _cost.parameters(spec, 1) == 2 * h * h + h + 2 * h + 2


@pytest.mark.parametrize(("size", "streams"), REFERENCE)
def test_the_published_script_s_values(size, streams):
    found = _cost.cost(size, streams, 1, READ, WRITTEN)
    gib, seconds = REFERENCE[size, streams]
    assert found.memory_bytes.mean() / 2**30 == pytest.approx(gib, rel=5e-4)
    assert found.latency_s.mean() == pytest.approx(seconds, rel=2e-3)


def test_equal_loss_ratios_of_the_figure():
    found = _cost.equal_loss_ratio(BATCHES)
    np.testing.assert_allclose(found.memory_ratio, [22.5, 12.8, 6.9, 3.6], rtol=0.03)
    np.testing.assert_allclose(found.latency_ratio, [7.0, 3.5, 1.8, 0.95], rtol=0.03)
    assert (np.diff(found.memory_ratio) < 0).all()
    assert (np.diff(found.latency_ratio) < 0).all()
    alone = _cost.equal_loss_ratio()
    assert alone.memory_ratio == pytest.approx(found.memory_ratio[0])
    assert alone.parameters_bytes / 2**30 == pytest.approx(3.273, rel=2e-3)
    assert alone.streams_bytes / 2**30 == pytest.approx(0.145, rel=0.01)


def test_losses_are_those_published_unless_given():
    assert _cost.equal_loss_ratio().loss == 1.0383
    assert _cost.equal_loss_ratio(loss=1.0383).memory_ratio == _cost.equal_loss_ratio().memory_ratio
    assert _cost.equal_loss_ratio(loss=1.0213).parameters_bytes > _cost.equal_loss_ratio().parameters_bytes
    pile = _cost.equal_loss_ratio(corpus="pile", size="1.1B", streams=4)
    assert pile.loss == 1.9509
    assert pile.memory_ratio > pile.latency_ratio > 1


def test_output_lengths_may_differ_from_those_of_the_input():
    both = _cost.equal_loss_ratio(lengths=(64,), output_lengths=(512,))
    assert _cost.equal_loss_ratio(lengths=(64, 512)).latency_ratio != both.latency_ratio
    wide, base = (_cost.cost("1.6B", streams, 1, 64, 512) for streams in (8, 1))
    assert both.streams_s == pytest.approx(wide.latency_s - base.latency_s)
    assert _cost.equal_loss_ratio(lengths=(64,), output_lengths=(64,)).memory_ratio == pytest.approx(
        _cost.equal_loss_ratio(lengths=(64,)).memory_ratio
    )


def test_both_roofs_are_needed():
    """By operations alone streams are slower from the start; by bytes alone they stay ahead at batch 8."""
    fast = dataclasses.replace(hardware.device("A100-80GB"), memory_bandwidth_bytes_per_s=1e30)
    assert _cost.equal_loss_ratio(1, device=fast).latency_ratio < 0.5
    wide = dataclasses.replace(hardware.device("A100-80GB"), bfloat16_flop_per_s=1e30)
    assert _cost.equal_loss_ratio(8, device=wide).latency_ratio > 1.5


def test_latency_turns_between_batch_four_and_eight():
    batch = _cost.crossover_batch()
    assert 4 < batch < 8
    assert _cost.equal_loss_ratio(batch).latency_ratio == pytest.approx(1, abs=1e-5)
    assert 1 < _cost.crossover_batch(device="H100-SXM") < 64


def test_parts_add_up_and_follow_their_formulas():
    found = _cost.cost("1.6B", 8, batch=2, input_tokens=100, output_tokens=50)
    assert found.memory_bytes == pytest.approx(sum(found.memory_parts.values()))
    assert found.latency_s == pytest.approx(sum(found.latency_parts.values()))
    spec = _cost.parscale_spec(1536, 8320)
    assert found.weight_bytes == 2 * spec.parameters
    assert found.kv_cache_bytes == spec.kv_cache_bytes(100 + 48 + 50, batch=16)
    assert found.aggregation_bytes == 2 * 1537 * 1536 * 8
    assert found.activation_bytes == 2 * max(16 * 148 * 8320, 2 * 148 * 151_936)
    assert set(found.latency_parts) == {"prefill_s", "decode_s", "vocabulary_s", "aggregation_s"}
    bandwidth = 0.9 * 2039e9
    one = _cost.cost("1.6B", 1, input_tokens=1, output_tokens=1)
    table = 2 * 151_936 * 1536 / bandwidth
    head = 2 * 151_936 * 1536 * 2 / (0.7 * 312e12)
    assert one.vocabulary_s == pytest.approx(2 * table + head, rel=1e-12)
    layer = spec.parameters - spec.embedding_parameters - 36 * 2 * 1536 - 1536
    activations = 36 * (2 * (3 * 1536 + 8320) + 2 * 4 * 1536)
    assert one.prefill_s == pytest.approx((2 * layer + activations) / bandwidth, rel=1e-12)
    cache = 2 * spec.kv_cache_bytes(2)
    assert one.decode_s == pytest.approx((2 * layer + activations + cache) / bandwidth, rel=1e-12)


def test_one_stream_is_the_base_model():
    one = _cost.cost("0.5B", 1)
    assert (one.aggregation_bytes, one.aggregation_s) == (0, 0)
    assert one.memory_parts == _cost.cost("0.5B", 1, prefix_tokens=1000).memory_parts
    assert one.latency_parts == _cost.cost("0.5B", 1, prefix_tokens=1000).latency_parts


def test_arrays_are_the_numbers_one_by_one():
    many = _cost.cost("0.7B", 4, np.array([1.0, 2.5]), np.array([[64], [128]]), 32)
    assert many.latency_s.shape == many.memory_bytes.shape == (2, 2)
    one = _cost.cost("0.7B", 4, 2.5, 128, 32)
    assert many.latency_s[1, 1] == pytest.approx(one.latency_s, rel=1e-12)
    assert many.memory_bytes[1, 1] == one.memory_bytes
    assert isinstance(one.latency_s, float)


def test_any_plain_transformer_and_any_device():
    llama = _cost.cost(hardware.model("llama-3-8b"), 4, device="H100-SXM")
    assert llama.latency_s < _cost.cost(hardware.model("llama-3-8b"), 4).latency_s
    assert llama.model == "llama-3-8b"
    assert _cost.cost("0.5B", 2, device="V100", dtype="float16").device == "V100-16GB-SXM2"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: _cost.cost("7B", 1), "model: '7B', must be a ModelSpec or one of 0.5B"),
        (lambda: _cost.cost(hardware.model("mixtral-8x7b"), 1), "model: 'mixtral-8x7b', must have like layers"),
        (lambda: _cost.cost(hardware.model("gemma-2-2b"), 1), "model: 'gemma-2-2b'"),
        (lambda: _cost.cost("0.5B", 0), "streams: 0, must be an integer of at least 1"),
        (lambda: _cost.cost("0.5B", 1.5), "streams: 1.5"),
        (lambda: _cost.cost("0.5B", 2, prefix_tokens=-1), "prefix_tokens: -1"),
        (lambda: _cost.cost("0.5B", 2, batch=0), "batch: 0, must be finite and above 0"),
        (lambda: _cost.cost("0.5B", 2, 1, "long"), "input_tokens: 'long', must be numbers"),
        (lambda: _cost.cost("0.5B", 2, 1, 64, np.inf), "output_tokens: inf"),
        (lambda: _cost.cost("0.5B", 2, np.ones(2), np.ones(3)), r"shapes: .*must broadcast"),
        (lambda: _cost.cost("0.5B", 2, device="abacus"), "name: 'abacus'"),
        (lambda: _cost.cost("0.5B", 2, flops_efficiency=0), "flops_efficiency: 0"),
        (lambda: _cost.parameters("0.5B", True), "streams: True"),
        (lambda: _cost.parscale_spec(100, 10), "hidden_dim: 100, must be a multiple of 16"),
        (lambda: _cost.parscale_spec(96, 0), "inner_dim: 0"),
        (lambda: _cost.equal_loss_ratio(streams=1), "streams: 1, must be an integer of at least 2"),
        (lambda: _cost.equal_loss_ratio(size="9B"), "size: '9B', must be one of 0.5B"),
        (lambda: _cost.equal_loss_ratio(streams=3), "loss: None, must be at least 1.0213 and below 1.0817"),
        (lambda: _cost.equal_loss_ratio(size="4.4B"), "loss: 0.9794, must be at least 1.0213"),
        (lambda: _cost.equal_loss_ratio(corpus="poems"), "corpus: 'poems', must be one of pile, stack"),
        (lambda: _cost.equal_loss_ratio(loss=1.01), "loss: 1.01"),
        (lambda: _cost.crossover_batch(3, 2), "low, high: 3, 2"),
        (lambda: _cost.crossover_batch(1, 2), "low, high: 1, 2, must have the crossover"),
    ],
)
def test_an_argument_that_is_not_possible_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_results_show_themselves():
    found = _cost.cost("1.6B", 8, 1, READ, WRITTEN)
    assert "16, their mean" in repr(found)
    assert "memory: 3.59 GiB" in repr(found)
    assert "kv cache bytes" in found._repr_html_()
    assert "settings" not in repr(_cost.cost("1.6B", 8))
    ratio = _cost.equal_loss_ratio()
    assert "memory: parameters add 22.5x what streams add" in repr(ratio)
    assert "loss" in ratio._repr_html_()
