"""The roofline: by hand on one device, on arrays, and at its edges."""

import math

import numpy as np
import pytest

from workbench import hardware

A100 = hardware.device("A100-80GB")


def test_the_longer_of_both_by_hand():
    compute = hardware.roofline(312e12, 2.039e9, "A100-80GB")
    assert compute.seconds == compute.compute_s == 1.0
    assert compute.memory_s == pytest.approx(1e-3)
    assert (compute.bound, compute.device) == ("compute", "A100-80GB-SXM")
    memory = hardware.roofline(312e9, 2.039e12, A100)
    assert (memory.seconds, memory.bound) == (pytest.approx(1.0), "memory")
    assert memory.intensity_flop_per_byte == pytest.approx(312 / 2039)
    assert isinstance(memory.seconds, float)
    assert isinstance(memory.bound, str)


def test_efficiencies_scale_each_roof():
    slow = hardware.roofline(312e12, 2.039e12, A100, flops_efficiency=0.5, bandwidth_efficiency=0.8)
    assert (slow.compute_s, slow.memory_s) == (pytest.approx(2), pytest.approx(1.25))
    assert slow.ridge_flop_per_byte == pytest.approx(A100.ridge_flop_per_byte("bfloat16") * 0.5 / 0.8)


def test_the_dtype_chooses_the_rate():
    single = hardware.roofline(19.5e12, 0, A100, dtype="float32")
    assert single.seconds == pytest.approx(1)
    with pytest.raises(ValueError, match="dtype: 'bfloat16', must be one that V100"):
        hardware.roofline(1, 1, "V100")


def test_arrays_and_the_ridge():
    """At the ridge both roofs meet; below it memory limits, above it compute."""
    ridge, moved = A100.ridge_flop_per_byte("bfloat16"), np.array([[1e9], [1e6]])
    result = hardware.roofline(moved * np.array([0.5, 2.0]) * ridge, moved, A100)
    assert result.seconds.shape == (2, 2)
    np.testing.assert_array_equal(result.bound, [["memory", "compute"]] * 2)
    np.testing.assert_allclose(result.seconds, moved / 2.039e12 * [[1, 2]], rtol=1e-12)
    np.testing.assert_allclose(result.intensity_flop_per_byte / ridge, [[0.5, 2]] * 2, rtol=1e-12)


def test_decoding_is_memory_bound_until_the_batch_is_large():
    """Weights are read once a step, whatever the batch: two operations a weight meet two bytes."""
    weights = hardware.model("llama-3-8b").parameters
    batch = 2.0 ** np.arange(11)
    bound = hardware.roofline(2 * weights * batch, 2 * weights, A100).bound
    assert list(bound) == ["memory"] * 8 + ["compute"] * 3  # the ridge lies at 153


def test_edges():
    nothing = hardware.roofline(0, 0, A100)
    assert (nothing.seconds, nothing.bound) == (0, "compute")
    assert math.isnan(nothing.intensity_flop_per_byte)
    assert hardware.roofline(1, 0, A100).intensity_flop_per_byte == math.inf
    assert hardware.roofline(0, 1, A100).intensity_flop_per_byte == 0
    assert hardware.roofline([], [], A100).seconds.shape == (0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flops": -1}, "flops: -1, must be finite and at least 0"),
        ({"bytes": [1.0, math.nan]}, r"bytes: \[1.0, nan\]"),
        ({"bytes": "all"}, "bytes: 'all', must be numbers"),
        ({"flops": np.ones(2), "bytes": np.ones(3)}, r"bytes: shape \(3,\), must broadcast with that of flops, \(2,\)"),
        ({"flops_efficiency": 0}, "flops_efficiency: 0, must be above 0 and at most 1"),
        ({"bandwidth_efficiency": 1.1}, "bandwidth_efficiency: 1.1"),
        ({"bandwidth_efficiency": True}, "bandwidth_efficiency: True"),
        ({"device": "abacus"}, "name: 'abacus', must be one of A100"),
        ({"dtype": "int3"}, "dtype: 'int3'"),
    ],
)
def test_an_argument_that_is_not_possible_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        hardware.roofline(**({"flops": 1, "bytes": 1, "device": A100} | change))


def test_a_result_shows_itself():
    one = repr(hardware.roofline(1e12, 1e9, A100))
    assert "bound: compute" in one
    assert "A100-80GB-SXM, bfloat16" in one
    many = hardware.roofline([1e12, 1e6], 1e9, A100)
    assert "bound: 1 compute, 1 memory" in repr(many)
    assert "153 FLOP/byte at the ridge" in many._repr_html_()
