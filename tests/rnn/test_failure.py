"""A recurrence that does not converge says so: it raises, or returns its status, a sequence each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rnn_table import close, problem, reference

from workbench import rnn
from workbench.errors import NotConverged

LOGISTIC = lambda h, x, r: r * h * (1 - h) + 0 * x


def logistic(r, **options):
    return rnn.solve(LOGISTIC, r, jnp.zeros((1000, 1)), jnp.full(1, 0.3), **({"solver": rnn.Newton()} | options))


def test_chaos_raises_by_default_and_the_failure_can_be_looked_at():
    with pytest.raises(NotConverged, match=r"Newton.*atol") as caught:
        logistic(4.0)
    assert not caught.value.result.status.converged.any()
    assert "converged" not in str(caught.value.result.status)


def test_chaos_returns_its_status():
    result = logistic(4.0, on_failure="return")
    assert not result.status.converged.all()
    assert int(result.status.code) in (rnn.Code.NONFINITE, rnn.Code.DIVERGED)
    assert abs(result.stats.lyapunov - np.log(2)) < 0.05  # the exact exponent of r = 4 is log 2
    assert logistic(4.0, solver=rnn.Sequential()).status.converged


def test_under_jit_the_status_is_returned():
    result = jax.jit(lambda r: logistic(r))(4.0)
    assert not result.status.converged
    assert isinstance(result, rnn.Trajectory)


def test_an_eager_gradient_raises_too():
    with pytest.raises(NotConverged):
        jax.grad(lambda r: logistic(r).states.sum())(4.0)


class Stretched(rnn.ParaGRU):
    """A GRU with h' = f(h) + 4 tanh(x0) h (1 - h): the first input decides, a sequence each, whether it is wild."""

    def step_and_jacobian(self, params, h, u):
        wild = u[..., 0, :] > 50
        calm, J = super().step_and_jacobian(params, h, jnp.where(u > 50, 0, u))
        return (
            jnp.where(wild, 4 * h * (1 - h), calm),
            rnn.Diagonal(jnp.where(wild, 4 - 8 * h, J.d)),
        )


def test_one_bad_sequence_leaves_the_others_right():
    cell = Stretched(6, 8)
    params = cell.init(jax.random.key(0))
    params["B"] = params["B"].at[0, 0, 0].set(0.0).at[0, 0, 0, 0].set(100.0)
    x = jax.random.normal(jax.random.key(1), (4, 500, 6)).at[..., 0].set(0.0).at[2, :, 0].set(1.0)
    h0 = jnp.full((4, 8), 0.3)
    result = rnn.solve(cell, params, x, h0, solver=rnn.Newton(), on_failure="return")
    np.testing.assert_array_equal(result.status.converged, [True, True, False, True])
    assert repr(result.status).startswith("3 of 4 converged; 1 ")
    good = jnp.asarray([0, 1, 3])
    close(result.states[good], jax.jit(reference, static_argnums=0)(cell, params, x[good], h0[good]), atol=1e-12)
    assert (result.stats.iterations[good] < 8).all()
    with pytest.raises(NotConverged, match="3 of 4 converged"):
        rnn.solve(cell, params, x, h0, solver=rnn.Newton())


def test_finished_sequences_are_frozen():
    cell, params, x, _ = problem("gru", 50, "float64", (2,))
    x = x.at[0].set(0.0)  # easy: nothing happens from h0 = 0
    both = rnn.solve(cell, params, x, solver=rnn.Newton())
    assert both.stats.iterations[0] < both.stats.iterations[1]
    close(both.states[0], rnn.solve(cell, params, x[0], solver=rnn.Newton()).states, atol=0)
    history = np.asarray(both.stats.history)
    assert np.isnan(history[0, int(both.stats.iterations[0]) + 1 :]).all()


@pytest.mark.parametrize("solver", [rnn.Newton(), rnn.Sequential(), rnn.Newton(steps=2)], ids=str)
def test_nan_in_the_input_is_nonfinite(solver):
    cell, params, x, h0 = problem("lstm", 20, "float64", (2,))
    with pytest.raises(NotConverged, match="nonfinite"):
        rnn.solve(cell, params, x.at[1, 10, 0].set(jnp.nan), h0, solver=solver)
    result = rnn.solve(cell, params, x.at[1, 10, 0].set(jnp.nan), h0, solver=solver, on_failure="return")
    assert result.status.code[1] == rnn.Code.NONFINITE


def test_max_steps_is_a_status():
    cell, params, x, h0 = problem("gru", 100, "float64", ())
    result = rnn.solve(cell, params, x, h0, solver=rnn.Newton(), max_steps=2, on_failure="return")
    assert result.status.code == rnn.Code.MAX_STEPS
    assert result.stats.history.shape == (3,)
    assert repr(result.status) == "max_steps"
    fixed = rnn.solve(cell, params, x, h0, solver=rnn.Newton(steps=2), on_failure="return")
    close(fixed.states, result.states, atol=1e-15)
    with pytest.raises(NotConverged):
        rnn.solve(cell, params, x, h0, solver=rnn.Newton(steps=2))


def edge_of_chaos(solver):
    """A random network past the edge: Newton overshoots for many iterations in a row before it recovers."""
    keys = jax.random.split(jax.random.key(0), 3)
    w = 1.2 * jax.random.normal(keys[0], (32, 32)) / np.sqrt(32)
    u, guess = 0.1 * jax.random.normal(keys[1], (300, 32)), jax.random.normal(keys[2], (300, 32))
    step = lambda h, u, w: w @ jnp.tanh(h) + u
    return rnn.solve(step, w, u, jnp.zeros(32), guess=guess, solver=solver, max_steps=200, on_failure="return")


def test_growing_residual_is_diverged_unless_patience_says_otherwise():
    result = edge_of_chaos(rnn.Newton())
    assert result.status.code == rnn.Code.DIVERGED
    last = np.asarray(result.stats.history)[: int(result.stats.iterations) + 1][-4:]
    assert (np.diff(last) > 0).all()
    assert edge_of_chaos(rnn.Newton(patience=None)).status.converged


def test_newton_is_exact_after_as_many_iterations_as_steps():
    """The first k states are exact after k iterations, however chaotic the recurrence (to rounding)."""
    exact = logistic(4.0, solver=rnn.Sequential()).states
    far = 0.5 + 0 * exact
    for k in (1, 3):
        states = logistic(4.0, guess=far, solver=rnn.Newton(steps=k), on_failure="return").states
        close(states[:k], exact[:k], atol=1e-12)
        assert jnp.abs(states[k + 1] - exact[k + 1]) > 1e-9
