"""Multiple shooting and the warm start: any number of chunks, exactness, the guard, and honest failure."""

import jax.numpy as jnp
import numpy as np
import pytest
from maps import LOGISTIC, logistic
from rnn_table import close, problem

from workbench import rnn


@pytest.mark.parametrize("chunks", [1, 4, 7, 500])
@pytest.mark.parametrize("make", [rnn.MultipleShooting, lambda c: rnn.WarmStart(c, 5, "guess", guard=c == 7)])
def test_any_number_of_chunks(make, chunks):
    cell, params, x, h0 = problem("gru", 23, "float64", (2,))
    exact = rnn.solve(cell, params, x, h0, solver=rnn.Sequential()).states
    result = rnn.solve(cell, params, x, h0, solver=make(chunks))
    close(result.states, exact, atol=1e-12)
    assert chunks > 1 or not result.stats.iterations.any()


def test_shooting_is_exact_after_as_many_iterations_as_chunks():
    exact = logistic(3.7, rnn.Sequential()).states
    x, h0 = jnp.zeros((30, 1)), jnp.full(1, 0.3)
    result = rnn.solve(
        LOGISTIC, 3.7, x, h0, solver=rnn.MultipleShooting(6, steps=2), guess="zeros", on_failure="return"
    )
    close(result.states[:15], exact[:15], atol=1e-12)
    assert jnp.abs(result.states[16] - exact[16]).max() > 1e-9


def test_contraction_inside_the_chunks_makes_shooting_quick():
    cell, params, x, h0 = problem("gru", 1000, "float64", (2,))
    newton, shooting, warm = (
        rnn.solve(cell, params, x, h0, solver=solver).stats.iterations.max()
        for solver in (rnn.Newton(), rnn.MultipleShooting(4), rnn.WarmStart(4, overlap=200))
    )
    assert warm == 0 < shooting <= 2 < newton


def test_a_warm_start_that_is_too_short_hands_over():
    cell, params, x, h0 = problem("gru", 200, "float64", (2,))
    short = rnn.solve(cell, params, x, h0, solver=rnn.WarmStart(5, overlap=1))
    assert (short.stats.iterations >= 1).all()
    assert (short.stats.history[:, 0] > 1e-3).all()  # the certificate saw it
    close(short.states, rnn.solve(cell, params, x, h0, solver=rnn.Sequential()).states, atol=1e-12)


@pytest.mark.parametrize("overlap", [1, 64])
def test_a_guard_falls_back_on_the_sequential_rollout(overlap):
    """Chaos, or an overlap too short: the answer is the rollout's, bit for bit, after 0 iterations."""
    r = 4.0 if overlap == 64 else 2.5
    result = logistic(r, rnn.WarmStart(16, overlap, guard=True))
    assert result.status.converged
    assert result.stats.iterations == 0 == result.stats.residual
    close(result.states, logistic(r, rnn.Sequential()).states, atol=0)


def test_a_guard_is_no_cost_where_it_finds_contraction():
    """The branch taken is the parallel one: an overlap that has not quite forgotten leaves a mismatch behind."""
    cell, params, x, h0 = problem("gru", 1000, "float64", ())
    guarded = rnn.solve(cell, params, x, h0, solver=rnn.WarmStart(4, 200, guard=True))
    plain = rnn.solve(cell, params, x, h0, solver=rnn.WarmStart(4, 200))
    close(guarded.states, plain.states, atol=0)


@pytest.mark.parametrize("solver", [rnn.MultipleShooting(3), rnn.WarmStart(3), rnn.WarmStart(3, guard=True)], ids=str)
def test_nan_anywhere_is_nonfinite(solver):
    cell, params, x, h0 = problem("gru", 20, "float64", (3,))
    x = x.at[0, 1].set(jnp.nan).at[2, 19].set(jnp.nan)  # first chunk; last step, which no joint sees
    result = rnn.solve(cell, params, x, h0, solver=solver, on_failure="return")
    np.testing.assert_array_equal(result.status.code, [rnn.Code.NONFINITE, rnn.Code.CONVERGED, rnn.Code.NONFINITE])
