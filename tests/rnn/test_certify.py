"""A certificate says what holds, and refuses what does not; the region and the figures say where that is to be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rnn_table import problem, reference

from workbench import rnn

logistic = lambda h, x, r: r * h * (1 - h) + 0 * x
CELL, PARAMS, X, H0 = problem("lstm", 30, "float64", (3,))


def chaos(r, **options):
    options = {"on_failure": "return", "solver": rnn.Newton()} | options
    return rnn.solve(logistic, r, jnp.zeros((1000, 1)), jnp.full(1, 0.3), **options)


def test_a_solution_is_certified_and_the_bound_holds():
    result = rnn.solve(CELL, PARAMS, X, H0, solver=rnn.Newton())
    told = result.certify()
    assert told.verdict.tolist() == ["certified"] * 3
    assert told.outlook.tolist() == ["predictable"] * 3
    error = np.abs(result.states - reference(CELL, PARAMS, X, H0)).max((1, 2, 3))
    assert (error <= told.error_bound).all()
    assert (told.error_bound < 1e-12).all()
    assert (told.basin > 0).all()
    assert (told.residual_norm < told.basin).all()
    assert repr(told).splitlines()[1].startswith("1: certified: |h - h*| <= ")
    assert "O(log T)" in repr(told)
    assert "<table" in told._repr_html_()


def test_one_sequence_is_told_in_one_line_and_many_are_counted():
    line = repr(chaos(2.5, solver=rnn.Sequential()).certify())
    assert line.startswith("certified")
    assert "lambda = -0.694" in line
    cell, params, x, h0 = problem("linear", 5, "float64", (12,))
    assert repr(rnn.solve(cell, params, x, h0, solver=rnn.Newton()).certify()).endswith("4 more: 4 certified")


def test_chaos_is_refused_and_its_rollout_is_not_certified():
    refused, rolled = chaos(4.0).certify(), chaos(4.0, solver=rnn.Sequential()).certify()
    assert (refused.verdict, refused.outlook) == ("refused", "unpredictable")
    assert refused.lyapunov > 0
    assert "not finite" in repr(refused)
    assert (rolled.verdict, rolled.outlook) == ("not certified", "unpredictable")
    assert rolled.error_bound == np.inf
    assert rolled.first_order > 1e100


def test_a_predictable_recurrence_that_blew_up_says_what_to_try():
    told = chaos(2.5).certify()
    assert (told.verdict, told.outlook) == ("refused", "predictable")
    assert "Elk()" in repr(told)


def test_too_few_iterations_are_refused_though_the_bound_may_be_small():
    told = rnn.solve(CELL, PARAMS, X, H0, solver=rnn.Newton(steps=3), on_failure="return").certify()
    assert told.verdict.tolist() == ["refused"] * 3
    assert np.isfinite(told.error_bound).all()


def test_norms_see_what_entries_do_not():
    """A rotation: |J| doubles an error entry by entry at every step, while J leaves its length as it is."""
    turn = lambda h, x, c: jnp.stack([c * h[0] - c * h[1], c * h[0] + c * h[1]]) * 0.99 + x
    result = rnn.solve(turn, 0.5**0.5, jnp.zeros((400, 2)), jnp.ones(2), solver=rnn.Sequential())
    assert result.stats.error_bound > 1e30
    told = result.certify()
    assert told.verdict == "certified"
    assert told.error_bound < 1e-9


def test_newton_started_inside_the_basin_converges_quadratically():
    cell, params, x, h0 = problem("diagonal", 60, "float64", ())
    result = rnn.solve(cell, params, x, h0, solver=rnn.Newton())
    told = result.certify()
    direction = jnp.asarray(np.random.default_rng(0).standard_normal(result.states.shape))
    shift = 0.25 * told.basin / jnp.linalg.norm(direction) * direction
    again = rnn.solve(cell, params, x, h0, solver=rnn.Newton(), guess=result.states + shift)
    history = np.asarray(again.stats.history)[: int(again.stats.iterations) + 1]
    assert again.status.converged
    assert (history[1:] < history[:-1]).all()
    assert len(history) <= 6


def test_nothing_is_certified_while_tracing():
    def inside(x):
        with pytest.raises(RuntimeError, match="tracing"):
            rnn.solve(CELL, PARAMS, x, H0, solver=rnn.Newton()).certify()
        return x

    jax.jit(inside)(X)
    outside = jax.jit(lambda x: rnn.solve(CELL, PARAMS, x, H0, solver=rnn.Newton()))(X)
    with pytest.raises(RuntimeError, match="read them where solve was called"):
        outside.certify()


def test_the_outlook_depends_on_exponent_length_and_precision():
    told = rnn.outlook([-0.5, -1e-4, 0.01, 0.5, np.nan, -np.inf], 1000, "float64")
    assert told.tolist() == [
        "predictable", "borderline", "borderline", "unpredictable", "unpredictable", "predictable",
    ]  # fmt: skip
    assert rnn.outlook(0.01, 1000, "float32") == "unpredictable"
    assert rnn.largest_exponent(1000, "float64") == pytest.approx(np.log(2**52) / 2000)


def points(**changed):
    columns = {
        "solver": ["newton"] * 4 + ["jacobi"] * 4,
        "g": [0.5, 0.5, 2.0, 2.0] * 2,
        "length": [100, 300] * 4,
        "seed": [0, 1] * 4,
        "lyapunov": [-0.6, -0.5, 0.1, 0.2] * 2,
        "iterations": [5, 6, 40, 100, 30, 40, 60, 60],
        "converged": [True] * 6 + [False] * 2,
    }
    return {name: np.asarray(values) for name, values in (columns | changed).items()}


def test_the_region_is_drawn_with_every_run_on_it():
    pytest.importorskip("holoviews")
    figure = rnn.plot_region(points())
    shade, _, solved, refused = (figure.get(i) for i in range(4))
    assert len(solved) == 6
    assert len(refused) == 2
    assert (shade.dimension_values("steps")[shade.dimension_values("lambda") <= 0] >= 300).all()
    last = shade.dimension_values("steps")[-1]
    edge = shade.dimension_values("lambda")[-1]
    assert rnn.largest_exponent(last, "float64") == pytest.approx(edge)
    single = rnn.plot_region(points(), "float32").get(0)
    assert single.dimension_values("steps")[-1] < last


def test_iterations_are_drawn_by_solver_with_their_medians():
    pytest.importorskip("holoviews")
    figure = rnn.plot_iterations(points(), "g")
    curves = [layer for layer in figure if type(layer).__name__ == "Curve"]
    assert [curve.label for curve in curves] == ["newton", "jacobi"]
    np.testing.assert_allclose(curves[0].dimension_values("iterations"), [5.5, 70])


def test_the_windows_of_a_certificate_are_drawn():
    pytest.importorskip("holoviews")
    figure = rnn.solve(CELL, PARAMS, X, H0, solver=rnn.Newton()).certify().plot()
    largest, smallest, above, below = (figure.get(i).dimension_values("norm") for i in range(4))
    assert (below <= smallest * (1 + 1e-9)).all()
    assert (smallest <= largest).all()
    assert (largest <= above * (1 + 1e-9)).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"lyapunov": np.zeros(3)}, "arrays of one length"), ({"iterations": None}, r"\['iterations'\] are missing")],
)
def test_the_figures_door(changed, message):
    columns = {name: values for name, values in (points() | changed).items() if values is not None}
    with pytest.raises(ValueError, match=message):
        rnn.plot_region(columns)
