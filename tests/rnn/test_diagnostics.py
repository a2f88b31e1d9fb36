"""Error bounds, Lyapunov exponents and conditioning, each held against a dense reference or an exact value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rnn_table import problem, reference

from workbench import rnn
from workbench.rnn._diagnostics import error_bounds, lipschitz
from workbench.rnn._system import bind


def network(h, x, W):
    return jnp.matmul(W, jnp.tanh(h), precision="highest") + x


def elementwise(h, x, a):
    return jnp.tanh(a * h) + x


def grouped(h, x, m):
    return jnp.einsum("gij,gj->gi", m, jnp.tanh(h)) + x


def logistic(h, x, r):
    return r * h * (1 - h) + 0 * x


def gaussian(*shape, seed=0, scale=1.0):
    return jnp.asarray(scale * np.random.default_rng(seed).standard_normal(shape))


def smallest_singular_value(f, params, x, h0):
    """Of the whole dr/dh along the rollout, formed by automatic differentiation."""
    states = reference(f, params, x, h0)

    def residual(h):
        before = jnp.concatenate([h0[None], h[:-1]])
        return h - jax.vmap(lambda h, x: f(h, x, params))(before, x)

    matrix = np.asarray(jax.jacfwd(residual)(states)).reshape(states.size, states.size)
    return np.linalg.svd(matrix, compute_uv=False).min()


DENSE = gaussian(5, 5, scale=5**-0.5)
SYSTEMS = {
    "contracting": (network, 0.4 * DENSE, (5,)),
    "edge": (network, 1.2 * DENSE, (5,)),
    "chaotic": (network, 4.0 * DENSE, (5,)),
    "diagonal": (elementwise, jnp.asarray([0.5, 1.0, 1.6]), (3,)),
    "one state": (elementwise, jnp.asarray([3.0]), (1,)),
    "blocks": (grouped, gaussian(3, 2, 2), (3, 2)),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_bracket_holds_the_true_singular_value(name):
    f, params, shape = SYSTEMS[name]
    length = 37 if shape == (5,) else 64
    x, h0 = gaussian(length, *shape, seed=1, scale=0.1), gaussian(*shape, seed=2)
    cell = rnn.Function(f, "block") if f is grouped else f
    known = rnn.conditioning(cell, params, x, h0)
    sigma = smallest_singular_value(f, params, x, h0)
    assert known.lower <= known.sharp_lower * (1 + 1e-9)
    assert known.sharp_lower <= sigma * (1 + 1e-9)
    assert sigma <= known.sharp_upper * (1 + 1e-9)
    assert known.sharp_upper <= known.upper * (1 + 1e-9)
    assert known.a >= 1 >= known.b > 0


def test_the_bracket_without_transients_would_not_hold():
    """The check can fail: with a = b = 1 the formula misses a non-normal network."""
    f, W, shape = SYSTEMS["chaotic"]
    x, h0 = gaussian(37, *shape, seed=1, scale=0.1), gaussian(*shape, seed=2)
    rate = float(rnn.conditioning(f, W, x, h0).lyapunov)
    lower, upper = np.expm1(rate) / np.expm1(37 * rate), min(np.exp(-36 * rate), 1)
    assert not lower <= smallest_singular_value(f, W, x, h0) <= upper


def test_a_linear_recurrence_is_exact():
    """h' = a h: every window of k steps has norm a^k, so that a = b = 1 and both ends are known."""
    for a in (0.5, 1.0, 1.25):
        x = jnp.zeros((50, 1))
        known = rnn.conditioning(lambda h, x, a: a * h + x, a, x, jnp.ones(1))
        total = sum(a**k for k in range(50))
        np.testing.assert_allclose([known.lower, known.sharp_lower], 1 / total, rtol=1e-9)
        np.testing.assert_allclose([known.upper, known.sharp_upper], min(a**-49.0, 1), rtol=1e-9)
        np.testing.assert_allclose([known.a, known.b], 1, rtol=1e-9)
        np.testing.assert_allclose(known.norms[:, 1], np.log(a) * 2 ** np.arange(6), atol=1e-12)


def test_chaos_neither_over_nor_underflows():
    x = jnp.zeros((4000, 1))
    known = rnn.conditioning(logistic, 4.0, x, jnp.full(1, 0.3))
    assert known.lower == 0
    assert 0 <= known.upper < 1e-300
    assert abs(known.lyapunov - np.log(2)) < 0.02
    dead = rnn.conditioning(lambda h, x, a: 0 * h + x, 0.0, x, jnp.ones(1))
    assert dead.sharp_lower == dead.sharp_upper == 1
    assert dead.lyapunov == -jnp.inf


def test_batches_are_independent_and_one_step_is_the_identity():
    cell, params, x, h0 = problem("lstm", 20, "float64", (2, 2))
    together = rnn.conditioning(cell, params, x, h0)
    alone = rnn.conditioning(cell, params, x[1, 0], h0[1, 0])
    for name in ("lower", "upper", "sharp_lower", "sharp_upper", "a", "b"):
        values = getattr(together, name)
        assert values.shape == (2, 2)
        np.testing.assert_allclose(values[1, 0], getattr(alone, name), rtol=1e-6)
    one = rnn.conditioning(cell, params, x[..., :1, :], h0)
    assert (one.lower == 1).all()
    assert (one.upper == 1).all()
    assert "smallest singular value" in repr(together)
    assert "<table" in together._repr_html_()


def test_where_a_recurrence_overflows_nothing_is_promised():
    grows = lambda h, x, a: a * h * h + x
    x, h0 = jnp.zeros((60, 1)), jnp.full(1, 3.0)
    known = rnn.conditioning(grows, 1.0, x, h0)
    assert (known.lower, known.upper) == (0, 1)
    result = rnn.solve(grows, 1.0, x, h0, solver=rnn.Newton(), on_failure="return")
    assert not result.status.converged
    assert result.stats.error_bound == jnp.inf


def test_one_lost_number_among_thousands_is_not_overlooked():
    """XLA's maximum on CPU drops nan in long arrays; a status or a bound must not."""
    cell, params, x, h0 = problem("gru", 1000, "float64", ())
    result = rnn.solve(cell, params, x.at[990, 0].set(jnp.nan), h0, solver=rnn.Newton(), on_failure="return")
    assert not result.status.converged
    assert not jnp.isfinite(result.stats.residual)
    assert result.stats.error_bound == jnp.inf
    assert result.certify().verdict == "refused"


def test_the_exponents_of_every_prefix():
    W, x, h0 = 1.2 * DENSE, gaussian(64, 5, seed=1, scale=0.1), gaussian(5, seed=2)
    rates = rnn.exponents(network, W, x, h0)
    assert rates.shape == (64,)
    for length in (7, 64):
        short = rnn.solve(network, W, x[:length], h0, solver=rnn.Sequential())
        np.testing.assert_allclose(rates[length - 1], short.stats.lyapunov, rtol=1e-12)


def test_the_second_derivative_of_a_step():
    """tanh' has slope -2 tanh (1 - tanh^2), largest 4 / (3 sqrt 3); a logistic map has 2 r everywhere."""
    cell, params = rnn.Function(logistic).bind(2.5, jnp.zeros((4, 1)), jnp.zeros(1))
    system = bind(cell, params, jnp.zeros((4, 1)), jnp.zeros(1))
    np.testing.assert_allclose(lipschitz(system, gaussian(4, 1)), 5.0, rtol=1e-12)
    W, x, h0 = DENSE, gaussian(8, 5, seed=1), gaussian(5, seed=2)
    cell, params = rnn.Function(network).bind(W, x, h0)
    states = reference(network, W, x, h0)
    ours = lipschitz(bind(cell, params, x, h0), states)
    before = jnp.concatenate([h0[None], states[:-1]])
    curvature = jax.vmap(jax.hessian(lambda h: jnp.tanh(h).sum()))(before)
    exact = jnp.linalg.norm(jnp.diagonal(curvature, axis1=1, axis2=2)[:, None, :] * W[None], axis=1).max()
    assert 0.9 * exact <= ours <= exact * (1 + 1e-9)


@pytest.mark.parametrize("name", ["gru", "lstm", "dense"])
def test_the_proved_bound_bounds_the_error_and_says_where_it_cannot(name):
    cell, params, x, h0 = problem(name, 40, "float64", ())
    result = rnn.solve(cell, params, x, h0, solver=rnn.Newton())
    settled, data = result.cell, result.stats._origin()[0]
    data = (data.params, data.x, data.h0)
    for size in (1e-9, 1e-4, 1e3):
        states = result.states + size * gaussian(*result.states.shape, seed=5)
        bounds = error_bounds(settled, data, states)
        error = jnp.abs(states - result.states).max()
        assert bounds.first_order > 0
        assert error <= bounds.proved
        assert (bounds.proved == jnp.inf) == (size == 1e3)
        assert bounds.proved == jnp.inf or bounds.proved <= 2 * bounds.first_order
