"""The GPU cost model: its equations, its fit, and what the fit has not seen."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workbench import hardware
from workbench.rnn import _cost

MODEL = _cost.GpuModel(
    step_overhead_s=1e-5,
    step_bytes=20.0,
    iteration_bytes=16.0,
    level_s=1e-6,
    launch_s=5e-6,
    bandwidth_bytes_per_s=1e12,
    iterations=3,
    kernels=3,
)
UNFUSED = dataclasses.replace(MODEL, fused=False)


def test_the_equations_by_hand():
    assert float(_cost.sequential_s(MODEL, 1000, 1)) == pytest.approx(1000 * 1e-5)
    assert float(_cost.sequential_s(MODEL, 1000, 1e6)) == pytest.approx(1000 * 20e6 / 1e12)  # bound by memory
    moved = 1000 * 10 * 16 / 1e12
    assert float(_cost.parallel_s(MODEL, 1000, 10)) == pytest.approx(5e-6 + moved + 3 * 10 * 1e-6)
    assert float(_cost.parallel_s(UNFUSED, 1000, 10)) == pytest.approx(3 * (moved + 15e-6 + 10 * 1e-6))


@pytest.mark.parametrize(("time", "levels"), [(1, 0), (2, 1), (512, 9), (513, 10), (2**20, 20)])
def test_levels_are_rounded_up_and_powers_of_two_are_not(time, levels):
    told = float(_cost.parallel_s(MODEL, time, 1)) - MODEL.launch_s - time * 16 / 1e12
    assert told == pytest.approx(3 * levels * 1e-6)


def test_arrays_and_vmap_agree_with_numbers():
    times, lanes = jnp.asarray([128, 1024, 65536]), jnp.asarray([1, 64])
    table = jax.vmap(lambda t: jax.vmap(lambda n: _cost.speed_up(MODEL, t, n))(lanes))(times)
    one_by_one = [[float(_cost.speed_up(MODEL, int(t), int(n))) for n in lanes] for t in times]
    np.testing.assert_allclose(table, one_by_one, rtol=1e-12)
    np.testing.assert_allclose(_cost.speed_up(MODEL, times, 64), table[:, 1], rtol=1e-12)


def test_the_speed_up_saturates_when_the_card_is_full():
    lengths = 2 ** jnp.arange(8, 30)
    ratios = _cost.speed_up(MODEL, lengths, 64)
    assert (jnp.diff(ratios) > 0).all()
    limit = 1e-5 / (64 * 16 / 1e12)  # time of a step over time to move a step's bytes
    assert float(ratios[-1]) == pytest.approx(limit, rel=0.01)


def test_the_crossover_is_where_both_take_as_long():
    slow = dataclasses.replace(UNFUSED, iteration_bytes=48.0)
    product = float(_cost.crossover(slow, 4096))
    assert float(_cost.speed_up(slow, 4096, product / 4096)) == pytest.approx(1.0, rel=1e-9)
    assert float(_cost.speed_up(slow, 4096, 2 * product / 4096)) < 1 < float(_cost.speed_up(slow, 4096, 1))
    assert float(_cost.crossover(dataclasses.replace(slow, level_s=1.0), 4096)) == 0
    assert float(_cost.crossover(MODEL, 4096)) == np.inf  # fused, it moves fewer bytes than the loop


def test_the_fit_matches_its_two_rows_and_says_that_it_is_one():
    fit = _cost.fit_cost()
    assert [(row.name.split(",")[0], row.published) for row in fit.fitted] == [("ParaGRU", 447), ("ParaLSTM", 665)]
    assert max(abs(row.error) for row in fit.fitted) < 1e-6
    assert set(fit.assumed) >= {"lanes", "level_s", "launch_s"}
    assert str(fit).startswith("A fit on A100-80GB-SXM")
    # Plausible: a step is a dozen or two launches of 5 us, as a loop of array operations is.
    for model in fit.models.values():
        assert 5 < model.step_overhead_s / fit.assumed["launch_s"] < 50


def test_only_the_ratio_is_identified():
    """Another assumption about the lanes moves the fitted overhead, and neither the fitted rows nor the shape."""
    few, many = _cost.fit_cost(lanes=1024), _cost.fit_cost(lanes=65536)
    assert few.models["ParaGRU"].step_overhead_s < many.models["ParaGRU"].step_overhead_s / 5
    assert [row.modelled for row in few.fitted] == pytest.approx([row.modelled for row in many.fitted])


def test_held_out_shape_of_deer():
    """T = 3k..100k within 10 %, unfitted; at 300k the card of the table fills earlier than the model's."""
    rows = _cost.deer_shape()
    assert len(rows) == 5
    assert max(abs(row.error) for row in rows[:-1]) < 0.10
    assert 0.1 < rows[-1].error < 0.6


def test_held_out_ratios_are_told_though_they_are_missed():
    """The order holds, the size does not: whole cells in array operations cost less than three kernels' bytes."""
    rows = {row.name: row for row in _cost.fit_cost().held_out}
    assert rows["fused ParaLSTM over fused ParaGRU"].modelled > 1
    assert abs(rows["fused ParaLSTM over fused ParaGRU"].error) < 0.4
    assert rows["assembled over fused, ParaLSTM"].modelled > rows["assembled over fused, ParaGRU"].modelled > 1


def test_a_faster_device_is_faster():
    a100, h100 = (_cost.unfused("ParaGRU", hardware.device(name), 1e-5) for name in ("A100-80GB", "H100"))
    assert float(_cost.parallel_s(h100, 65536, 4096)) < float(_cost.parallel_s(a100, 65536, 4096))


@pytest.mark.parametrize("lanes", [0, 1.5, True])
def test_lanes_at_the_door(lanes):
    with pytest.raises(ValueError, match="lanes"):
        _cost.fit_cost(lanes=lanes)


def test_parameters_at_the_door():
    with pytest.raises(ValueError, match="level_s: 0"):
        dataclasses.replace(MODEL, level_s=0)
