"""What each solver promises beyond the contract: limits, references, honest failure, memory and options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from rnn_table import close, problem

from workbench import rnn
from workbench.rnn._elk import levenberg_marquardt
from workbench.rnn._solve import _solve

LOGISTIC = lambda h, x, r: r * h * (1 - h) + 0 * x
STATES = np.full((1000, 1), 0.3)


def logistic(r, solver, **options):
    options = {"guess": STATES, "on_failure": "return"} | options
    return rnn.solve(LOGISTIC, r, jnp.zeros((1000, 1)), jnp.full(1, 0.3), solver=solver, **options)


def lorenz(h, x, dt):
    """One Runge-Kutta step of the Lorenz system, scaled to states of order 1."""

    def slope(h):
        a, b, c = 20 * h[0], 20 * h[1], 20 * h[2]
        return jnp.stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c]) / 20

    k1 = slope(h)
    k2 = slope(h + dt / 2 * k1)
    k3 = slope(h + dt / 2 * k2)
    return h + dt / 6 * (k1 + 2 * k2 + 2 * k3 + slope(h + dt * k3)) + 0 * x


def mixing(h, x, w):
    return jnp.tanh(w @ h + x)


def dense(size=6, length=40, gain=0.5):
    keys = jax.random.split(jax.random.key(3), 3)
    w = gain * jax.random.normal(keys[0], (size, size)) / np.sqrt(size)
    return w, jax.random.normal(keys[1], (length, size)), jax.random.normal(keys[2], (size,))


# -- Newton with another matrix ---------------------------------------------------------------------------------------


def bidiagonal(A):
    """The matrix of delta_t - A_t delta_{t-1}, delta_0 = 0, stacked over time."""
    T, D, _ = A.shape
    L = np.eye(T * D)
    for t in range(1, T):
        L[t * D : (t + 1) * D, (t - 1) * D : t * D] = -A[t]
    return L


def by_hand(matrix, steps):
    """Newton's iteration with the given matrix instead of the Jacobian, as a dense solve over all times at once."""
    w, x, h0 = map(np.asarray, dense())
    states = np.zeros(x.shape)
    for _ in range(steps):
        values = np.tanh(np.concatenate([h0[None], states[:-1]]) @ w.T + x)
        A = matrix((1 - values**2)[:, :, None] * w)
        states = states + np.linalg.solve(bidiagonal(A), (values - states).ravel()).reshape(x.shape)
    return states


BLOCKS = np.kron(np.eye(3), np.ones((2, 2)))
MATRICES = {
    "jacobi": (rnn.Jacobi(steps=3), lambda J: 0 * J),
    "picard": (rnn.Picard(steps=3), lambda J: 0 * J + np.eye(6)),
    "diagonal": (rnn.QuasiNewton(steps=3), lambda J: J * np.eye(6)),
    "block": (rnn.QuasiNewton("block", block=2, steps=3), lambda J: J * BLOCKS),
    "shrink": (rnn.QuasiNewton(shrink=0.25, steps=3), lambda J: 0.75 * J * np.eye(6)),
    "clip": (rnn.QuasiNewton(clip=True, steps=3), lambda J: np.clip(J * np.eye(6), -1, 1)),
}


@pytest.mark.parametrize("name", list(MATRICES))
def test_newton_like_iterations_use_the_matrix_they_say(name):
    solver, matrix = MATRICES[name]
    w, x, h0 = dense()
    result = rnn.solve(mixing, w, x, h0, solver=solver, guess="zeros", on_failure="return")
    expected = by_hand(matrix, 3)
    close(result.states, expected, atol=1e-11 * (1 + np.abs(expected).max()))


def test_clipping_acts_where_the_diagonal_leaves_the_interval():
    step = lambda h, x, a: a * h - 0.1 * h**3 + x
    run = lambda clip: (
        rnn.solve(
            step, 1.5, jnp.zeros((4, 2)), jnp.ones(2), solver=rnn.QuasiNewton(clip=clip, steps=1), on_failure="return"
        ).states
    )
    assert jnp.abs(run(True) - run(False)).max() > 1e-3


def test_blocks_of_a_grouped_state_need_no_size():
    step = lambda h, x, w: jnp.tanh((w @ h.reshape(-1)).reshape(3, 2) + x)
    w, x, h0 = dense()
    given, found = (
        rnn.solve(step, w, x.reshape(-1, 3, 2), h0.reshape(3, 2), solver=rnn.QuasiNewton("block", block))
        for block in (2, None)
    )
    close(given.states, found.states, atol=0)
    assert given.stats.iterations == found.stats.iterations > 1


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([1, 2, 5]), st.integers(0, 2**31), st.floats(-3.0, 3.0))
def test_the_first_states_are_exact_after_as_many_iterations(k, seed, gain):
    """A triangular system: k iterations with any matrix, from any guess, settle the first k states."""
    x, guess = jax.random.normal(jax.random.key(seed), (2, 6, 2))
    exact = PREFIX(rnn.Sequential(), gain, x, guess)
    for solver in PREFIX_SOLVERS[k]:
        close(PREFIX(solver, gain, x, guess)[:k], exact[:k], atol=1e-9)


PREFIX_SOLVERS = {k: (rnn.Newton(steps=k), rnn.Jacobi(steps=k)) for k in (1, 2, 5)}


def PREFIX(solver, gain, x, guess):
    step = lambda h, x, a: jnp.sin(a * h) + x
    return rnn.solve(step, gain, x, jnp.ones(2), solver=solver, guess=guess, on_failure="return").states


# -- ELK --------------------------------------------------------------------------------------------------------------


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


# -- Chaos is refused -------------------------------------------------------------------------------------------------

PARALLEL = [
    rnn.Newton(), rnn.QuasiNewton(), rnn.Jacobi(), rnn.Picard(), rnn.Elk(), rnn.Elk(smoother=True),
    rnn.MultipleShooting(chunks=16), rnn.WarmStart(chunks=16),
]  # fmt: skip


@pytest.mark.parametrize("solver", PARALLEL, ids=str)
def test_the_chaotic_logistic_map_is_refused(solver):
    result = logistic(4.0, solver)
    assert not result.status.converged
    assert result.stats.lyapunov > 0.6


@pytest.mark.parametrize("solver", [PARALLEL[0], PARALLEL[4], *PARALLEL[6:]], ids=str)
def test_lorenz_is_refused(solver):
    h0 = jnp.asarray([-0.3, -0.3, 1.2])
    result = rnn.solve(lorenz, 0.02, jnp.zeros((2000, 3)), h0, solver=solver, scan=rnn.Serial(), on_failure="return")
    assert not result.status.converged
    assert 0.008 < result.stats.lyapunov < 0.03  # 0.906 per unit of time, 0.018 a step


# -- Shooting ---------------------------------------------------------------------------------------------------------


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


# -- Jacobians too large to hold --------------------------------------------------------------------------------------


def test_gradients_where_the_dense_jacobian_may_not_be_formed():
    w, x, h0 = dense(size=16, length=60)
    tight = rnn.Function(mixing, "dense", memory_limit_bytes=60 * 16 * 16 * 8 - 1)
    with pytest.raises(ValueError, match=r"memory.*QuasiNewton.*MultipleShooting"):
        rnn.solve(tight, w, x, h0, solver=rnn.Newton())

    def loss(states):
        return lambda *data: (jnp.cos(jnp.arange(960.0)).reshape(60, 16) * states(*data) ** 2).sum()

    scanned = loss(lambda w, x, h0: lax.scan(lambda h, x: (mixing(h, x, w),) * 2, h0, x)[1])
    slope = jax.jit(jax.grad(scanned, (0, 1, 2)))(w, x, h0)
    for solver in (rnn.Sequential(), rnn.QuasiNewton(patience=None), rnn.Jacobi(), rnn.WarmStart(4, overlap=30)):
        ours = loss(lambda *data, s=solver: rnn.solve(tight, *data, solver=s, max_steps=100).states)
        close(jax.jit(jax.grad(ours, (0, 1, 2)))(w, x, h0), slope, atol=1e-10)
    dots = (0.1 * w, jnp.ones_like(x), h0)
    forward = lambda f: jax.jit(lambda: jax.jvp(f, (w, x, h0), dots))()
    ours = loss(lambda *data: rnn.solve(tight, *data, solver=rnn.Sequential()).states)
    close(forward(ours), forward(scanned), atol=1e-9)
    curvature = lambda f: jax.jit(jax.grad(lambda w: (jax.grad(f)(w, x, h0) * dots[0]).sum()))(w)
    close(curvature(ours), curvature(scanned), atol=1e-8)


def largest(jaxpr):
    """Numbers in the largest array of a program, at any depth."""
    inner = [j for eqn in jaxpr.eqns for v in eqn.params.values() for j in (v if isinstance(v, tuple | list) else [v])]
    here = [v.aval.size for eqn in jaxpr.eqns for v in eqn.outvars if hasattr(v.aval, "size")]
    return max([*here, *(largest(getattr(j, "jaxpr", j)) for j in inner if hasattr(getattr(j, "jaxpr", j), "eqns"))])


@pytest.mark.parametrize("solver", [rnn.Sequential(), rnn.QuasiNewton(), rnn.Jacobi()], ids=str)
def test_no_solver_but_newton_holds_a_large_dense_jacobian(solver):
    """D = 256, T = 16384 in float32: the largest array, gradient included, is far from the T * D^2 numbers of J."""
    T, D = 16384, 256
    args = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((D, D), (T, D), (D,))]
    loss = lambda *data: rnn.solve(mixing, *data, solver=solver).states.sum()
    program = jax.make_jaxpr(jax.grad(loss, (0, 1, 2)))(*args)
    assert T * D <= largest(program.jaxpr) <= 4 * T * D


# -- Options ----------------------------------------------------------------------------------------------------------

BAD = {
    "damping: 0": lambda: rnn.Jacobi(damping=0.0),
    "steps: 0": lambda: rnn.Picard(steps=0),
    "patience: 0": lambda: rnn.Elk(patience=0),
    "structure: 'dense'": lambda: rnn.QuasiNewton("dense"),
    "block: 0": lambda: rnn.QuasiNewton("block", 0),
    "block: 2": lambda: rnn.QuasiNewton("diagonal", 2),
    "shrink: 1": lambda: rnn.QuasiNewton(shrink=1.0),
    "lam: -1": lambda: rnn.Elk(-1.0),
    "lam: inf": lambda: rnn.Elk(float("inf")),
    "schedule: 'slow'": lambda: rnn.Elk(schedule="slow"),
    "chunks: 0": lambda: rnn.MultipleShooting(0),
    "chunks: 1.5": lambda: rnn.WarmStart(1.5),
    "overlap: -1": lambda: rnn.WarmStart(4, -1),
    "start: 'end'": lambda: rnn.WarmStart(4, start="end"),
    "block: None": lambda: rnn.solve(mixing, *dense(), solver=rnn.QuasiNewton("block")),
    "block: 4": lambda: rnn.solve(mixing, *dense(), solver=rnn.QuasiNewton("block", 4)),
}


@pytest.mark.parametrize("message", list(BAD))
def test_bad_options_are_refused_by_name_at_the_door(message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()


@pytest.mark.parametrize("solver", [rnn.Elk(), rnn.QuasiNewton(), rnn.MultipleShooting(4), rnn.WarmStart(4)], ids=str)
def test_a_second_call_compiles_nothing(solver):
    cell, params, x, h0 = problem("gru", 30, "float64", ())
    rnn.solve(cell, params, x, h0, solver=solver)
    compiled = _solve._cache_size()
    again = type(solver)(**{name: getattr(solver, name) for name in solver.__dataclass_fields__})
    rnn.solve(cell, params, x + 1, h0, solver=again)
    assert _solve._cache_size() == compiled > 0
