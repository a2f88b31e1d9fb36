"""The state-space layer: matrix products over chunks against the recurrence they stand for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workbench import lm, rnn
from workbench.lm import _ssd

BATCH, TIME, HEADS, HEAD_DIM, STATE = 2, 13, 2, 3, 4


def inputs():
    keys = jax.random.split(jax.random.key(0), 4)
    decay = -jax.random.exponential(keys[0], (BATCH, TIME, HEADS))
    b, c = (jax.random.normal(k, (BATCH, TIME, STATE)) for k in keys[1:3])
    return decay, b, c, jax.random.normal(keys[3], (BATCH, TIME, HEADS, HEAD_DIM))


def step_by_step(decay, b, c, x):
    def body(S, step):
        decay, b, c, x = step
        S = jnp.exp(decay)[..., None, None] * S + b[:, None, :, None] * x[:, :, None, :]
        return S, jnp.einsum("bn,bhnp->bhp", c, S)

    start = jnp.zeros((BATCH, HEADS, STATE, HEAD_DIM))
    time_first = jax.tree.map(lambda a: jnp.moveaxis(a, 1, 0), (decay, b, c, x))
    return jnp.moveaxis(jax.lax.scan(body, start, time_first)[1], 0, 1)


@pytest.mark.parametrize("chunk", [1, 4, 13, 64])
def test_chunks_are_the_recurrence_step_by_step(chunk):
    np.testing.assert_allclose(_ssd.ssd(*inputs(), chunk), step_by_step(*inputs()), rtol=0, atol=1e-12)


def test_chunks_are_the_affine_scan_over_all_times():
    decay, b, c, x = inputs()
    added = jnp.moveaxis(b[:, :, None, :, None] * x[:, :, :, None, :], 1, 0)
    keeps = jnp.broadcast_to(jnp.moveaxis(jnp.exp(decay), 1, 0)[..., None, None], added.shape)
    S = rnn.affine_scan(rnn.Diagonal(keeps), added, backend=rnn.Associative())
    y = jnp.einsum("btn,tbhnp->bthp", c, S)
    np.testing.assert_allclose(_ssd.ssd(decay, b, c, x, 5), y, rtol=0, atol=1e-12)


def test_gradients_are_those_of_the_recurrence_also_when_it_forgets_at_once():
    decay, b, c, x = inputs()
    decay = decay.at[:, 5].set(-1e4)  # exp(+1e4) must not appear above the diagonal
    square = lambda f: jax.grad(lambda *args: (f(*args) ** 2).sum(), argnums=(0, 1, 2, 3))
    ours, theirs = square(lambda *args: _ssd.ssd(*args, 4))(decay, b, c, x), square(step_by_step)(decay, b, c, x)
    for a, b in zip(ours, theirs, strict=True):
        assert jnp.isfinite(a).all()
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11)


def test_mixer_is_the_cell_of_the_recurrence_room():
    """The same numbers as `rnn.SSD` solved by Newton, with its weights taken from the mixer's."""
    mixer, dim = lm.SSD(heads=HEADS, state_dim=STATE, chunk=4), HEADS * HEAD_DIM
    params = mixer.init(dim, jax.random.key(1), jnp.float64)
    u = jax.random.normal(jax.random.key(2), (BATCH, TIME, dim))
    cell = rnn.SSD(input_dim=dim, heads=HEADS, head_dim=HEAD_DIM, state_dim=STATE)
    weights = {
        "W": jnp.concatenate([jnp.eye(dim), params["bc"], params["d"]], 1),
        "dt_bias": params["d_bias"],
        "log_A": params["log_rate"],
    }
    solved = rnn.solve(cell, weights, u, solver=rnn.Newton(), scan=rnn.TwoLevel(4))
    y = cell.outputs(weights, solved.states, u).reshape(BATCH, TIME, HEADS, HEAD_DIM)
    skipped = params["skip"].reshape(1, 1, HEADS, 1) * u.reshape(BATCH, TIME, HEADS, HEAD_DIM)
    np.testing.assert_allclose(mixer(params, u, None).y, (y + skipped).reshape(u.shape), rtol=0, atol=1e-12)


def test_time_scales_start_spread_between_a_thousandth_and_a_tenth():
    params = lm.SSD(heads=200, state_dim=2).init(200, jax.random.key(0), jnp.float64)
    step = np.asarray(jax.nn.softplus(params["d_bias"]))
    assert 1e-3 <= step.min() < 2e-3
    assert 5e-2 < step.max() <= 1e-1
    rate = np.exp(params["log_rate"])
    assert 1 <= rate.min() < 2
    assert 15 < rate.max() <= 16
