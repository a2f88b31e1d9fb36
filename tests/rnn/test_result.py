"""What comes back: it prints itself, crosses transformations, plots, bounds its own error; and the driver's door."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rnn_table import close, problem, reference

from workbench import rnn

CELL, PARAMS, X, H0 = problem("lstm", 30, "float64", (3,))


def solved(**options):
    return rnn.solve(CELL, PARAMS, X, H0, **({"solver": rnn.Newton()} | options))


def test_views():
    result = solved()
    assert result.states.shape == (3, 30, 8, 2)
    close(result.final, result.states[:, -1], atol=0)
    close(result.outputs, result.states[..., 1], atol=0)
    assert result.status.converged.all()


def test_prints_itself():
    text = repr(solved())
    for part in ("float64[3, 30, 8, 2]", "Newton", "converged", "iterations: 4", "residual"):
        assert part in text
    assert "<table" in solved()._repr_html_()
    shown = []
    jax.jit(lambda x: shown.append(repr(rnn.solve(CELL, PARAMS, x, H0, solver=rnn.Newton()))) or x)(X)
    assert "Trajectory" in shown[0]


def test_is_a_pytree():
    inside = jax.jit(lambda x: rnn.solve(CELL, PARAMS, x, H0, solver=rnn.Newton()))(X)
    outside = solved()
    close(inside.states, outside.states, atol=1e-14)
    close(inside.outputs, outside.outputs, atol=1e-14)
    assert inside.cell == CELL
    assert len(jax.tree.leaves(outside)) == 5
    with pytest.raises(RuntimeError, match="read them where solve was called"):
        _ = inside.stats.lyapunov


def test_error_bound_bounds_the_error():
    result = solved(max_steps=3, on_failure="return")
    error = jnp.abs(result.states - reference(CELL, PARAMS, X, H0)).max((1, 2, 3))
    assert result.stats.error_bound.shape == (3,)
    assert (error > 1e-12).any()
    assert (error <= 1.5 * result.stats.error_bound).all()  # first order, hence the margin
    assert (result.stats.error_bound < 1e-2).all()


def test_lyapunov_of_a_linear_map_is_its_logarithm():
    x = jnp.zeros((200, 2))
    result = rnn.solve(lambda h, x, a: a * h + x, 0.8, x, jnp.ones(2), solver=rnn.Newton())
    assert abs(result.stats.lyapunov - np.log(0.8)) < 1e-12
    swap = lambda h, x, a: a * h[::-1] + x
    assert abs(rnn.solve(swap, 0.8, x, jnp.ones(2), solver=rnn.Newton()).stats.lyapunov - np.log(0.8)) < 1e-12


def test_half_precision_is_solved_in_single():
    half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), PARAMS)
    x, h0 = X.astype(jnp.bfloat16), H0.astype(jnp.bfloat16)
    result = rnn.solve(CELL, half, x, h0)
    assert result.states.dtype == jnp.float32
    assert (result.stats.residual < 1e-5).all()
    gradient = jax.grad(lambda p: rnn.solve(CELL, p, x, h0).states.sum())(half)
    assert gradient["B"].dtype == jnp.bfloat16


def test_warm_start_needs_no_iteration():
    again = solved(guess=solved().states)
    assert not again.stats.iterations.any()
    assert solved(guess=lambda params, x, h0: solved().states).stats.iterations.max() == 0


def test_an_empty_batch_is_fine():
    result = rnn.solve(CELL, PARAMS, X[:0])
    assert result.states.shape == (0, 30, 8, 2)
    assert result.status.converged.shape == (0,)
    assert repr(result).startswith("Trajectory")


def test_tolerance_below_rounding_is_refused_not_looped():
    x32 = X.astype(jnp.float32)
    p32, h32 = jax.tree.map(lambda a: a.astype(jnp.float32), (PARAMS, H0))
    with pytest.raises(ValueError, match=r"atol: 1e-10, is below what float32 can reach"):
        rnn.solve(CELL, p32, x32, h32, atol=1e-10)
    with pytest.raises(ValueError, match=r"rtol: 1e-08, is below"):
        rnn.solve(CELL, p32, x32, h32, rtol=1e-8)
    assert rnn.solve(CELL, p32, x32, h32, atol=0.0).status.converged.all()
    assert solved(atol=1e-10).status.converged.all()


def test_plot():
    pytest.importorskip("holoviews")
    figure = solved().plot()
    assert type(figure).__name__ == "Overlay"
    worst = figure.get(0)
    np.testing.assert_array_equal(worst.dimension_values("iteration"), np.arange(5))
    expected = np.asarray(solved().stats.history)[:, :5].max(0)
    np.testing.assert_array_equal(worst.dimension_values("residual"), expected)
    assert solved(solver=rnn.Sequential()).plot() is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_steps": 0}, "max_steps: 0"),
        ({"max_steps": 2.5}, "max_steps: 2.5"),
        ({"max_steps": 4, "solver": rnn.Newton(steps=3)}, "max_steps: 4"),
        ({"atol": -1.0}, "atol: -1.0"),
        ({"rtol": float("nan")}, "rtol: nan"),
        ({"atol": 0, "rtol": 0}, "atol: 0 with rtol = 0"),
        ({"on_failure": "ignore"}, "on_failure: 'ignore'"),
        ({"solver": "newton"}, "solver: 'newton'"),
        ({"scan": rnn.Newton()}, "scan: "),
        ({"guess": "best"}, "guess: 'best'"),
        ({"guess": jnp.zeros((3, 30, 8))}, r"guess: shape \(3, 30, 8\), must be that of the states, \(3, 30, 8, 2\)"),
        ({"x": X[..., :5]}, r"x: shape \(3, 30, 5\)"),
        ({"x": X[0, 0]}, r"x: shape \(6,\)"),
        ({"x": X[:, :0]}, "x: 0 steps"),
        ({"x": X.astype(int)}, "x: dtype int"),
        ({"x": (X, X)}, "x: tuple"),
        ({"x": X.astype(complex)}, "complex"),
        ({"h0": H0[0]}, r"h0: shape \(8, 2\), must be \(3, 8, 2\)"),
        ({"h0": H0.astype(int)}, "h0: dtype int"),
        ({"params": {"a": PARAMS["a"]}}, r"params: \['a'\], must be a dict with the keys \['B', 'a', 'b', 'p'\]"),
        ({"params": PARAMS | {"a": jnp.zeros((2, 8))}}, r"params\['a'\]: shape \(2, 8\), must be \(3, 8\)"),
        ({"params": None}, "params: NoneType"),
    ],
)
def test_door(options, message):
    with pytest.raises(ValueError, match=message):
        rnn.solve(CELL, **({"params": PARAMS, "x": X, "h0": H0} | options))


@pytest.mark.parametrize("arguments", [{"damping": 0.0}, {"damping": 1.5}, {"steps": 0}, {"patience": 0}])
def test_newtons_door(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        rnn.Newton(**arguments)


def test_sequentials_door():
    with pytest.raises(ValueError, match="adjoint: 'exact'"):
        rnn.Sequential(adjoint="exact")


@pytest.mark.parametrize("cell", [rnn.ParaGRU(64, 64), rnn.ParaLSTM(64, 64)], ids=lambda c: type(c).__name__)
@pytest.mark.parametrize(("dtype", "target", "iterations"), [("float32", 1e-5, 4), ("float64", 1e-10, 6)])
def test_fresh_cells_converge_in_a_few_iterations(cell, dtype, target, iterations):
    """Figure 4 of the paper: the residual reaches rounding in 3 to 4 iterations, whatever the length."""
    x = jax.random.normal(jax.random.key(1), (2, 512, 64), dtype)
    result = rnn.solve(cell, cell.init(jax.random.key(0), jnp.dtype(dtype)), x, solver=rnn.Newton())
    history = np.asarray(result.stats.history)
    assert (np.nanmin(history[:, : iterations + 1], 1) < target).all()
    assert (history[:, 1] > target).all()  # one iteration is not enough: the test can fail
