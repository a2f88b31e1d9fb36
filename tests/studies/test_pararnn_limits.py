"""The sweep over gains and the experiments on failure, in their smallest form."""

import math

import numpy as np
import pytest

from workbench import rnn
from workbench.data import published
from workbench.data._tables import published_note
from workbench.studies import _pararnn_limits as limits
from workbench.studies import _pararnn_sweep as sweeps

SMALL = sweeps.Sweep(
    dim=8,
    lengths=(20, 40),
    gains=(0.4, 3.0),
    seeds=(0, 1),
    max_steps={"newton": 40, "quasi-newton": 12, "jacobi": 12},
)


@pytest.fixture(scope="module")
def points():
    return sweeps.run_sweep(SMALL)


def test_every_run_is_there_and_a_cap_is_no_success(points):
    assert points["iterations"].shape == (3 * 2 * 2 * 2,)
    capped = points["iterations"][~points["converged"]]
    assert capped.size
    assert set(capped) == {12.0}
    assert sweeps.select(points, solver="newton")["converged"].all()


def test_newton_is_quick_where_the_network_contracts_only(points):
    calm, wild = (sweeps.select(points, solver="newton", g=g) for g in SMALL.gains)
    assert (calm["lyapunov"] < 0).all()
    assert calm["iterations"].max() < wild["iterations"].min()
    assert (sweeps.select(points, solver="jacobi", g=0.4)["iterations"] > calm["iterations"]).all()


def test_the_sweep_is_what_the_driver_does(points):
    W, x, guess, h0 = sweeps.networks(SMALL)
    cell = sweeps.RandomNetwork(SMALL.dim)
    for length in SMALL.lengths:
        result = rnn.solve(
            cell, {"W": 0.4 * W}, x[:, :length], h0, solver=rnn.Newton(), scan=rnn.Serial(),
            guess=guess[:, :length], atol=1e-10, rtol=0,
        )  # fmt: skip
        mine = sweeps.select(points, solver="newton", g=0.4, length=length)
        np.testing.assert_array_equal(mine["iterations"], result.stats.iterations)
        np.testing.assert_allclose(mine["lyapunov"], result.stats.lyapunov, rtol=1e-9)


def test_the_jacobian_of_the_network_is_its_derivative():
    cell = sweeps.RandomNetwork(3)
    rng = np.random.default_rng(0)
    W, h, u, v = (rng.standard_normal(shape) for shape in ((2, 3, 3), (4, 2, 3), (4, 2, 3), (4, 2, 3)))
    value, J = cell.step_and_jacobian({"W": W}, h, u)
    np.testing.assert_allclose(value[1, 0], W[0] @ np.tanh(h[1, 0]) + u[1, 0])
    small = 1e-6
    difference = (cell.step({"W": W}, h + small * v, u) - cell.step({"W": W}, h - small * v, u)) / (2 * small)
    np.testing.assert_allclose(J.apply(v), difference, atol=1e-8)
    np.testing.assert_allclose(cell.block_diagonal({"W": W}, h, u)[1].d, np.diagonal(J.m[..., 0, :, :], 0, -2, -1))


def test_depth_ratio_and_threshold():
    assert sweeps.depth_ratio(16, 256) == 1
    made = {
        "solver": ["newton"] * 3,
        "g": [0.5, 1.0, 2.0],
        "length": [256] * 3,
        "seed": [0] * 3,
        "lyapunov": [-0.5, -0.1, 0.1],
        "iterations": [4, 8, 12],
        "converged": [True, True, False],
    }
    crossing = sweeps.threshold({name: np.asarray(values) for name, values in made.items()})
    np.testing.assert_allclose(crossing["a"], [0.25, 0.5, 2.0])
    np.testing.assert_allclose(crossing["x"], [-0.5, -0.1, 0.1])


def test_a_row_a_run_is_logged(points):
    rows = []

    class Log:
        def log(self, step, **metrics):
            rows.append((step, metrics))

    sweeps.log_points(Log(), points)
    one = sweeps.select(points, solver="newton")
    assert [step for step, _ in rows] == list(range(one["g"].size))
    for step, metrics in rows:
        assert (metrics["sweep/gain"], metrics["sweep/length"]) == (one["g"][step], one["length"][step])
        assert metrics["sweep/lyapunov"] == one["lyapunov"][step]
        solved = metrics["sweep/iterations/newton"]
        assert solved == one["iterations"][step] if one["converged"][step] else np.isnan(solved)


def test_newton_overshoots_on_the_logistic_map_and_elk_does_not():
    newton, elk = (limits.logistic(2.5, solver) for solver in (rnn.Newton(patience=None), rnn.Elk()))
    assert newton.lyapunov == elk.lyapunov == pytest.approx(math.log(0.5), abs=2e-3)
    assert newton.iterations == math.inf
    assert elk.iterations <= 60
    refused = limits.logistic(4.0, rnn.Elk())
    assert not refused.converged
    assert refused.lyapunov == pytest.approx(math.log(2), abs=0.02)


def test_lorenz_is_refused_with_the_exponent_of_the_flow():
    ended = limits.lorenz(rnn.Newton(patience=None), max_steps=20)
    assert not ended.converged
    assert ended.lyapunov / limits.LORENZ_STEP == pytest.approx(0.906, abs=0.25)


def test_the_gradient_of_an_unconverged_path_is_wrong():
    errors = limits.truncated_gradients(limits.Truncation(length=128, dim=4), seed=0)
    assert errors[1] > 1e-2 > errors[3] > errors[8]
    assert errors[8] < 1e-12


def test_the_bracket_of_the_theory_holds_and_its_control_does_not():
    ours, control = limits.bracket_violations(gains=(0.3, 3.0), dim=4, length=20)
    np.testing.assert_allclose(ours, 0, atol=1e-9)
    assert (control > 0).all()


def test_the_speed_ups_of_deer_are_listed():
    table = published("pararnn-deer")
    assert table["length"].to_list() == [1000, 3000, 10000, 30000, 100000, 300000]
    assert table["speedup"].is_sorted()
    step = (table["sequential_s"] / table["length"]).to_numpy()
    np.testing.assert_allclose(step, 9.8e-6, rtol=0.03)  # about 10 us a step whatever the length: the cost of a launch
    assert "V100" in (published_note("pararnn-deer", "origin") or "").upper()
