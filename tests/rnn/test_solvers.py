"""What each solver promises beyond the contract: limits, references, honest failure, memory and options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from maps import bidiagonal, dense, logistic, mixing
from rnn_table import close, problem

from workbench import rnn
from workbench.rnn._solve import _solve


def lorenz(h, x, dt):
    """One Runge-Kutta step of the Lorenz system, scaled to states of order 1."""

    def slope(h):
        a, b, c = 20 * h[0], 20 * h[1], 20 * h[2]
        return jnp.stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c]) / 20

    k1 = slope(h)
    k2 = slope(h + dt / 2 * k1)
    k3 = slope(h + dt / 2 * k2)
    return h + dt / 6 * (k1 + 2 * k2 + 2 * k3 + slope(h + dt * k3)) + 0 * x


# -- Newton with another matrix ---------------------------------------------------------------------------------------


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
