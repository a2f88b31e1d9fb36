"""ELK is the Kalman filter and smoother that it says it is, and solves what Newton loses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from maps import bidiagonal, dense, logistic
from rnn_table import close, problem

from workbench import rnn
from workbench.rnn._elk import levenberg_marquardt


def kalman(J, r, lam, smoother):
    """Textbook Kalman filter and RTS smoother, one step after the other, in numpy."""
    T, D = r.shape
    m, P, means, covariances, predictions = np.zeros(D), np.zeros((D, D)), [], [], []
    for t in range(T):
        m_p, P_p = J[t] @ m + r[t], J[t] @ P @ J[t].T + np.eye(D)
        K = P_p @ np.linalg.inv(P_p + np.eye(D) / lam)
        m, P = m_p - K @ m_p, P_p - K @ P_p
        means, covariances, predictions = [*means, m], [*covariances, P], [*predictions, (m_p, P_p)]
    if not smoother:
        return np.stack(means)
    out = [means[-1]]
    for t in reversed(range(T - 1)):
        m_p, P_p = predictions[t + 1]
        out.append(means[t] + covariances[t] @ J[t + 1].T @ np.linalg.inv(P_p) @ (out[-1] - m_p))
    return np.stack(out[::-1])


@jax.jit(static_argnums=(3, 4))
def smoothed(J, r, lam, scan, smoother):
    return levenberg_marquardt(J, r, lam, scan, smoother=smoother)


@pytest.mark.parametrize("smoother", [False, True])
@pytest.mark.parametrize(
    ("k", "scan"),
    [(1, rnn.Associative()), (1, rnn.TwoLevel(4)), (2, rnn.Associative()), (2, rnn.TwoLevel(4)), (3, rnn.Serial())],
    ids=str,
)
def test_elk_is_the_kalman_filter(k, scan, smoother):
    rng = np.random.default_rng(k)
    T, groups = 13, 2
    m, r = 0.9 * rng.standard_normal((T, groups, k, k)), rng.standard_normal((T, groups, k))
    J = rnn.Diagonal(jnp.asarray(m[..., 0, 0])) if k == 1 else rnn.Block(jnp.asarray(m))
    lam = 0.3
    ours = smoothed(J, jnp.asarray(r[..., 0] if k == 1 else r), jnp.full(1, lam), scan, smoother)
    for g in range(groups):
        close(ours[:, g].reshape(T, k), kalman(m[:, g], r[:, g], lam, smoother), atol=1e-11)


def test_elk_with_smoother_minimises_what_it_says():
    w, x, _ = dense(size=3, length=9)
    J, lam = 0.7 * np.stack([w] * 9), 0.2
    F = bidiagonal(J)
    exact = np.linalg.solve(F.T @ F + lam * np.eye(27), F.T @ np.asarray(x).ravel()).reshape(9, 3)
    close(smoothed(rnn.Block(jnp.asarray(J)[:, None]), x, jnp.full(1, lam), rnn.Serial(), True), exact, 1e-12)


@pytest.mark.parametrize(("name", "smoother"), [("gru", True), ("lstm", False), ("lstm", True)])
def test_small_lam_is_newton_and_large_lam_stands_still(name, smoother):
    cell, params, x, h0 = problem(name, 20, "float64", (2,))
    options = {"guess": "zeros", "scan": rnn.Serial(), "on_failure": "return"}
    run = lambda solver: rnn.solve(cell, params, x, h0, solver=solver, **options).states
    newton = run(rnn.Newton(steps=1))
    for lam, atol in ((0.0, 1e-12), (1e-9, 1e-7))[smoother:]:
        close(run(rnn.Elk(lam, smoother, "fixed", steps=1)), newton, atol=atol)
    assert jnp.abs(run(rnn.Elk(1e9, smoother, "fixed", steps=1))).max() < 1e-7
    assert jnp.abs(newton).max() > 0.1


@pytest.mark.parametrize(
    "solver", [rnn.Elk(), rnn.Elk(0.1, schedule="fixed"), rnn.Elk(0.1, True, "fixed"), rnn.Elk(smoother=True)], ids=str
)
def test_elk_solves_the_logistic_map_that_newton_loses(solver):
    """r = 2.5 contracts along the solution (log 0.5 a step), but Newton's first step from 0.3 overshoots."""
    assert logistic(2.5, solver, max_steps=60).status.converged
    assert not logistic(2.5, rnn.Newton()).status.converged


def test_the_schedule_takes_lam_to_newton_a_sequence_each():
    adaptive, fixed = (logistic(2.5, rnn.Elk(1.0, schedule=s), max_steps=100) for s in ("adaptive", "fixed"))
    assert 5 * adaptive.stats.iterations < fixed.stats.iterations
    cell, params, x, h0 = problem("gru", 60, "float64", (2,))
    x = x.at[0].multiply(8.0)
    run = jax.jit(lambda x, h0: rnn.solve(cell, params, x, h0, solver=rnn.Elk(3.0), scan=rnn.Serial()))
    both = run(x, h0)
    assert both.stats.iterations[0] != both.stats.iterations[1]
    for i in (0, 1):
        alone = run(x[i], h0[i])
        assert both.stats.iterations[i] == alone.stats.iterations
        close(both.states[i], alone.states, atol=1e-14)


def test_with_the_smoother_no_step_raises_the_merit():
    result = logistic(2.5, rnn.Elk(smoother=True))
    assert result.status.converged
    assert np.nanmax(result.stats.history) < 1.0  # the filter's first step alone takes it there
    assert not (np.diff(result.stats.history[: int(result.stats.iterations) + 1]) == 0).all()
